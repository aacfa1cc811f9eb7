"""Sources, schema, splits: rows in, snapshots out."""
