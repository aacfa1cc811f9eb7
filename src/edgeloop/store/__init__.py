"""Where artifacts live: digests, an OCI layout, an index, lineage."""
