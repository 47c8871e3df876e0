"""One stack of models from their training sets: the loop."""
