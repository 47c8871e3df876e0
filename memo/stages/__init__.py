"""One file a DVC stage, made of the rooms: the only place that knows files and computation."""
