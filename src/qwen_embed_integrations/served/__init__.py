"""Models behind HTTP: one connection, pure requests and replies, one retry layer."""
