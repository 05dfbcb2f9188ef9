"""Check the shape of the tree: no file above 400 lines, no drawer names; files above 300 lines are named for a look."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePosixPath

LOOK, LIMIT = 300, 400
CHECKED = {".py", ".pyi", ".sh", ".js", ".css", ".html"}
DRAWERS = {"utils", "util", "common", "helpers", "helper", "misc"}


def problems(files: dict[str, int]) -> tuple[list[str], list[str]]:
    """(errors, warnings) for a tree given as {path: lines}."""
    errors, warnings = [], []
    for path, lines in sorted(files.items()):
        drawers = DRAWERS & {part.partition(".")[0].strip("_").lower() for part in PurePosixPath(path).parts}
        if drawers:
            errors.append(f"{path}: name it after what it is about, not {min(drawers)!r}")
        if lines > LIMIT:
            errors.append(f"{path}: {lines} lines, the limit is {LIMIT}; split it by what it is about")
        elif lines > LOOK:
            warnings.append(f"{path}: {lines} lines, look whether it is still about one thing")
    return errors, warnings


def tree(root: Path) -> dict[str, int]:
    """Line counts of the files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    paths = [root / name for name in listed.split("\0") if name]
    return {
        path.relative_to(root).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in paths
        if path.suffix in CHECKED and path.is_file()
    }


def main() -> int:
    errors, warnings = problems(tree(Path(__file__).resolve().parent.parent))
    for line in warnings:
        sys.stdout.write(f"look: {line}\n")
    for line in errors:
        sys.stderr.write(f"error: {line}\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
