"""The collage renderer: emoji artwork composed as the caption's words say; a renderer, not a diffusion model."""
