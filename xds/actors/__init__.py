"""What an IHE actor does, in model terms."""
