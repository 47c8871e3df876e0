"""Parquet files that may be damaged, or crafted to do damage."""
