"""What is examined, one question a module."""
