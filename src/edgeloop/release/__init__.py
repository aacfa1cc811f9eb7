"""Bundles, signing, the signed list of a channel."""
