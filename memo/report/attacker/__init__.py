"""The section of reports on what an attacker learns."""
