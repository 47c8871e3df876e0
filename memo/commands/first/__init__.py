"""The first spec of a new project: what it chooses, says and writes, and that memo takes it."""
