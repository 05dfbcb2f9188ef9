"""From the store to a reader, by way of a node's disk and a rank's memory; each group's bytes are proven on the way."""
