"""Training sets of the models of a design, and the seeds of all random streams."""
