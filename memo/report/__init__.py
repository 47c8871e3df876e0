"""Charts and pages: plain arrays and tables in, bytes of files out."""
