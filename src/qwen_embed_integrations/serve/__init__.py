"""Servers, started with the right options."""
