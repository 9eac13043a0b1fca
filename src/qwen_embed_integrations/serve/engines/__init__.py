"""The servers that can be started: where they are installed, and their command lines."""
