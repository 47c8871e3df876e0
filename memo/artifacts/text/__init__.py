"""Files of text that others open, too: facts as JSON, tables as CSV."""
