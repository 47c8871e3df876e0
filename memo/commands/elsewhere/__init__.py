"""Commands on tables of log-likelihoods under models that were trained elsewhere."""
