"""Curves of runs in a terminal: read from the trainer in bounded pieces, drawn with Braille dots."""
