"""What an experiment computes: models, log-likelihoods, scores, samples and page contents, no files."""
