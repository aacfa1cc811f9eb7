"""Data sets that need more than a table of files: one module each, with its own ``load``."""
