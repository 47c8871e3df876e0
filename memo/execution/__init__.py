"""Where tasks run: in this process, in a worker pool, on a Ray cluster."""
