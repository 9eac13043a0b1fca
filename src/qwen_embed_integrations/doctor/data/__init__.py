"""Texts that the doctor sends, and numbers it holds the answers against."""
