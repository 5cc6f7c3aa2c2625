"""Bytes to embeddings, whatever the runtime."""
