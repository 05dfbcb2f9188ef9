"""Diffusion models: everything below this folder may load torch and diffusers."""
