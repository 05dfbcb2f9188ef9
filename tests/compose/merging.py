"""Compose's rules for several files, as far as ours use them, so that tests see a merged stack without Docker."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass
class Override:
    """``!override``: takes the place of what stood there."""

    value: Any


@dataclass
class Reset:
    """``!reset``: nothing stands there any more."""


class _Loader(yaml.SafeLoader):
    """YAML with compose's own tags."""


def _override(loader: _Loader, node: yaml.Node) -> Override:
    if isinstance(node, yaml.SequenceNode):
        return Override(loader.construct_sequence(node, deep=True))
    assert isinstance(node, yaml.MappingNode)
    # With what `<<` brings.
    return Override(loader.construct_mapping(node, deep=True))


_Loader.add_constructor("!override", _override)
_Loader.add_constructor("!reset", lambda loader, node: Reset())


def load(path: Path) -> dict[str, Any]:
    """One file, before its variables are filled in; tags are kept."""
    loaded: dict[str, Any] = yaml.load(path.read_text(), Loader=_Loader)
    return loaded


def plain(tree: Any) -> Any:
    """What a file says, its tags left out."""
    if isinstance(tree, Override):
        return plain(tree.value)
    if isinstance(tree, Reset):
        return None
    if isinstance(tree, dict):
        return {name: plain(value) for name, value in tree.items()}
    return [plain(value) for value in tree] if isinstance(tree, list) else tree


def merge(below: Any, above: Any) -> Any:
    """Mappings by key, lists one behind the other (each entry once), everything else from above."""
    if isinstance(above, Override):
        return plain(above)
    if isinstance(below, dict) and isinstance(above, dict):
        merged = {**below}
        for name, value in above.items():
            if isinstance(value, Reset):
                merged.pop(name, None)
            else:
                merged[name] = merge(below[name], value) if name in below else plain(value)
        return merged
    if isinstance(below, list) and isinstance(above, list):
        return below + [value for value in plain(above) if value not in below]
    return plain(above)


def stack(root: Path, *files: Path | str) -> dict[str, Any]:
    """The services of several files, each standing on those before it; ``extends`` is followed."""
    merged: dict[str, Any] = {}
    for file in files:
        for name, service in load(root / file)["services"].items():
            added = service
            if "extends" in service:
                own = {key: value for key, value in service.items() if key != "extends"}
                source = service["extends"]
                added = merge(stack(root, source["file"])[source["service"]], own)
            merged[name] = merge(merged.get(name, {}), added)
    return merged


def filled(value: Any, **variables: str) -> Any:
    """With every variable at its default, or as given."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: variables.get(match.group(1), match.group(2) or ""), value)
    if isinstance(value, dict):
        return {name: filled(inner, **variables) for name, inner in value.items()}
    return [filled(inner, **variables) for inner in value] if isinstance(value, list) else value
