"""Model in, finding out, one check per file."""
