"""Drawing from models; tests on samples alone, one file each."""
