"""Progress of a project: models, log-likelihoods, and stages that DVC would run."""
