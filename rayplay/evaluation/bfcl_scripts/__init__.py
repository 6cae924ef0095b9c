"""Scripts that run in BFCL's own environment, by path. Only `gold` can also be imported here, by its tests."""
