"""Servers: started with the right settings, and examined."""
