"""`synfarm import`: images that exist already become a finished job of the store."""
