"""`synfarm demo`: the whole chain on one machine, shown while it runs."""
