"""The `synfarm` command."""

from __future__ import annotations

from synfarm.cli.app import main

__all__ = ["main"]
