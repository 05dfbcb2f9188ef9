"""Reading of manifests and shards, and the batches made of them."""
