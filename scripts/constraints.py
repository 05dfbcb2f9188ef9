"""Print constraints.txt: the exact version of every package in this environment, so that a fresh one gets the same."""

from __future__ import annotations

import json
import subprocess
import sys

_INSTALLER = {"pip", "setuptools", "wheel"}
_APART = {"lightly": "1.6.0", "mlflow-skinny": "3.17.2", "tensorboard": "2.21.0", "wandb": "0.31.0"}
"""Not in this environment: `make bench-step` has the first in a folder of its own, the others are of the trainer's
extras. MLflow wants importlib-metadata below 10."""
_HEADER = """\
# Exact versions of everything that `make setup` installs: `make constraints` writes this file.
# Versions only: where packages come from is the installer's configuration.
"""


def main() -> None:
    """Write the sorted list to standard output, without the installer itself and without editable packages."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "list",
        "--format=json",
        "--exclude-editable",
        "--disable-pip-version-check",
    ]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    pinned = _APART | {p["name"].lower().replace("_", "-"): p["version"] for p in packages}
    lines = [f"{name}=={version}" for name, version in sorted(pinned.items()) if name not in _INSTALLER]
    sys.stdout.write(_HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
