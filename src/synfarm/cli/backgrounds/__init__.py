"""`synfarm backgrounds`: settings in which concepts are plausible."""
