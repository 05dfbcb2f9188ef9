"""``python -m synfarm.cli``: the same as the installed command."""

from __future__ import annotations

from synfarm.cli import main

if __name__ == "__main__":
    main()
