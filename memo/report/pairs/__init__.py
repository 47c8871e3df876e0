"""Groups and pairs of observations on the page: sets that belong together, twins side by side."""
