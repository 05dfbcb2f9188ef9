"""Frozen networks on labelled sets, after training: what `synfarm eval` starts as a process of its own."""
