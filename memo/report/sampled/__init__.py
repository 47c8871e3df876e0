"""The part of a report on tests on samples."""
