"""How a model is built from data, one technique per file."""
