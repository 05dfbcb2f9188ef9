"""A CycloneDX list of what .venv holds, with versions and licences: build/sbom.cdx.json (`make sbom`)."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = ROOT / "build" / "sbom.cdx.json"


def main() -> None:
    """Run cyclonedx-bom out of build/sbom. Not by PYTHONPATH: the interpreter that it asks would inherit that, and name
    the tool's own packages."""
    sys.path.insert(0, str(ROOT / "build" / "sbom"))
    sys.argv = [
        "cyclonedx-py",
        "environment",
        sys.executable,
        "--output-reproducible",
        "--of",
        "JSON",
        "-o",
        str(WRITTEN),
    ]
    runpy.run_module("cyclonedx_py", run_name="__main__")


if __name__ == "__main__":
    main()
