"""Measurements of what memo claims about its speed and its errors."""
