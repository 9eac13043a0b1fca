"""A checkpoint's files: found, checked, and read into a recipe, a tokenizer and weights."""
