"""What differs between families of diffusion models: one small class each, behind one Protocol."""
