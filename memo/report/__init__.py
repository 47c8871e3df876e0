"""Charts and pages: arrays and tables in, the bytes of files out."""
