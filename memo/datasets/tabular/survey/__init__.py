"""What a table's columns seem to be, for a first spec: read by `memo init` alone."""
