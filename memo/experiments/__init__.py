"""What an experiment computes, without files: models, log-likelihoods, scores, page contents."""
