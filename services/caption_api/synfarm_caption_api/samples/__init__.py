"""Samples of a job for people to look at: a few groups out of however many there are, each byte proven."""
