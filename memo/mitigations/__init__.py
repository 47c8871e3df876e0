"""Changes to training, data or the released density that should lower memorization."""
