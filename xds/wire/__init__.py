"""Bytes to model and back: pure `read_*` and `write_*` functions, tolerant in, strict out."""
