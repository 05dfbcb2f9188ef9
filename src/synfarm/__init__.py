"""synfarm: vision representations from synthetic captions and synthetic images alone."""
