"""Mergeable profiles of values, and how far one has moved from another."""
