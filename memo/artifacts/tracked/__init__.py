"""Files as git and DVC track them: at other revisions, in DVC's cache, on a remote of others."""
