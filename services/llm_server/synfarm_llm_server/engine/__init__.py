"""Continuous batching: rows, how a token is chosen, how text comes out, and the thread that runs it all."""
