"""A farm in fast motion: units, workers that are lost, outages; what a mean hides."""
