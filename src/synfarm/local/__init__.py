"""Everything on one machine: a supervisor that runs Redis, the object store and every service as child processes."""
