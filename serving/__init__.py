"""Answering queries: the search service and TF Serving's API over an embedded runtime."""
