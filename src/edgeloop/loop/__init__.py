"""The loop file, its steps and keys, the runner, lineage and report."""
