"""Executors of tasks: this process, a worker pool, a Ray cluster."""
