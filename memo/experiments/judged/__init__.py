"""Tests on samples, judged by what is known to be memorized."""
