"""Decisions that need keys."""
