"""Sockets to transactions."""
