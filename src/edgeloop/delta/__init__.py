"""Deltas between model files: a codec that knows tensors, and its byte format."""
