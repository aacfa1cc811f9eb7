"""Model in, model out, one pass per file."""
