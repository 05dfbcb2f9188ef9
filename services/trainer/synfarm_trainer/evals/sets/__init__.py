"""Labelled sets that others made, from the layouts in which they come."""
