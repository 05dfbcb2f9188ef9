"""``python -m synfarm_render_worker``: one render worker."""

from __future__ import annotations

import sys

from synfarm_render_worker.worker import main

if __name__ == "__main__":
    sys.exit(main())
