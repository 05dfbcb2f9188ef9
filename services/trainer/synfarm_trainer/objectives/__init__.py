"""Training objectives: one folder each."""
