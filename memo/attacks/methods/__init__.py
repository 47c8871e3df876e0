"""Attacks, one file each: scores that are higher the more a record looks like a member."""
