"""The standard's rules as data and pure checks: a check returns the list of errors it found."""
