"""Servers, started with the right settings."""
