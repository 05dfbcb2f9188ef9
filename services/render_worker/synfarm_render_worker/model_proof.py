"""Proof that a model's folder holds all that its repository lists: half a fetch is never taken for a whole one.

The hub's library writes the list of a commit's files down before it fetches the first of them, and asks nobody for it
again (``get_cached_repo_tree``). Without the hub it compares names with it, no sizes; and where the list is lost, it
gives the folder as it is (``_raise_if_incomplete_snapshot`` of huggingface_hub 2.4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

__all__ = ["drop", "not_as_listed", "not_as_named"]


def not_as_listed(
    folder: Path, model: str, revision: str, files: Sequence[str], without: Sequence[str], into: Path | None
) -> list[str] | None:
    """Those of ``files`` that are missing or have another size than the list says; None where there is no list."""
    from huggingface_hub import errors, get_cached_repo_tree
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    try:
        tree = get_cached_repo_tree(model, revision=revision, local_dir=into)
    except errors.CachedRepoTreeNotFoundError:
        return None
    sizes = {file.path: file.size for file in tree}
    wanted = filter_repo_objects(sizes, allow_patterns=[*files], ignore_patterns=[*without])
    return sorted(path for path in wanted if _size(folder / path) != sizes[path])


def not_as_named(folder: Path) -> list[str]:
    """Files of the hub's cache whose bytes are not those that they are named by; reads every byte.

    A file is a link to ``blobs/<hash>``: SHA-256 for one in LFS, git's SHA-1 for any other
    (huggingface_hub, guides/manage-cache).
    """
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    return sorted(path.relative_to(folder).as_posix() for path in links if not _is_as_named(path))


def drop(file: Path) -> None:
    """Away with a file of the cache and with what it is a link to, so that it is fetched again."""
    while file.is_symlink():
        target = file.parent / file.readlink()
        file.unlink()
        file = target
    file.unlink(missing_ok=True)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _is_as_named(link: Path) -> bool:
    name = link.readlink().name
    if not link.is_file():
        return False
    if len(name) == hashlib.sha256().digest_size * 2:
        with link.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == name
    data = link.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == name
