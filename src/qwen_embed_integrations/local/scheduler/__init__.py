"""Which texts are tokenized and computed next, and in which thread. Knows nothing of models."""
