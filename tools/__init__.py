"""What a model may call: one file per tool, each a typed function with a docstring."""
