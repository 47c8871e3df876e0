"""One file a DVC stage: reads files, calls rooms, writes files."""
