"""Files: every path, format, schema, fingerprint, lock and atomic write of a project."""
