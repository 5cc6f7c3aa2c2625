"""Searching vectors: exact search, its metrics, and the quantized ScaNN index."""
