"""`synfarm backup` and `synfarm restore`: jobs and runs elsewhere, and back, in an order that keeps the rules."""
