"""The gate of a release: limits on measured statistics, judged by their intervals."""
