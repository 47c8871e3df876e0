"""One file a source: the images, or points, as the source has them."""
