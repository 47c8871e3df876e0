"""Densities from samples: log p of observations under a model that nothing else is known of."""
