"""Repeatable benchmarks: `make bench`. Load comes from this machine and goes to loopback only."""
