"""Losses, one a file, each with its paper and equation."""
