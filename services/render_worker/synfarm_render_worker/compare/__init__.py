"""Presets side by side: the same captions and seeds by several settings, their speed, how far images differ."""
