"""The affinity domain's vocabulary as plain frozen dataclasses; standard library only."""
