"""A look at a table's columns for a first spec: used by `memo init` alone."""
