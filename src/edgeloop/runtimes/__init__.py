"""Load and run a graph, one module per form of model."""
