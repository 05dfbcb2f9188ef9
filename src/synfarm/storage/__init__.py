"""The object store, which is the only truth, and the shard format inside it."""
