"""What attacks on the fold models of an experiment find."""
