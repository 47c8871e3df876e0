"""What an experiment computes from its models' samples: spaces of features, densities there."""
