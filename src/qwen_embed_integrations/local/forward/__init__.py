"""Sequences through a model: packed, attended, pooled, scored. Knows nothing of callers and queues."""
