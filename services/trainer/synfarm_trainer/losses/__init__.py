"""Losses over tensors only: no configuration, no distribution, no ids beyond labels."""
