"""Which observations each model is trained on; every random stream's seed."""
