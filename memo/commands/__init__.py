"""One file a command that is no stage."""
