"""rayplay teaches an open language model to call your tools."""

__version__ = "0.1.0"
