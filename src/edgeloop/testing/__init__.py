"""Doubles and contract kits, for our tests and other people's."""
