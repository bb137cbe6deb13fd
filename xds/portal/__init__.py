"""Pages for physicians, identity desk and operators."""
