"""Which weights a run begins with, as the field ``model.init_from`` names them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from synfarm.contracts import layout
from synfarm.contracts.ids import check_ulid
from synfarm_trainer.config.checks import need

__all__ = ["Initial", "OfRun", "OfStore", "OfTimm", "parse_initial"]

_FORMS = (
    "write run:<run> for a run's export, run:<run>@<step> for a checkpoint, store:weights/<name>.safetensors or the "
    "key of a run's file, or timm:<model name>; or leave it empty"
)


@dataclass(frozen=True, slots=True)
class OfRun:
    """An own run's export; with ``step``, its checkpoint of that step."""

    run: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class OfStore:
    """A safetensors file of the store."""

    key: str

    @property
    def run(self) -> str | None:
        """Whose file it is, if it is a run's."""
        return layout.parse_run(self.key) if self.key.startswith(layout.runs_prefix()) else None


@dataclass(frozen=True, slots=True)
class OfTimm:
    """Pretrained weights of one of timm's models."""

    model: str


Initial = OfRun | OfStore | OfTimm


def parse_initial(text: str) -> Initial | None:
    """None for the seed's own weights.

    Raises:
        ValueError: it names nothing; the message has the field and the forms.
    """
    if not text:
        return None
    kind, _, rest = text.partition(":")
    found: Initial | None = None
    try:
        if kind == "run":
            run, at, step = rest.partition("@")
            if not at or re.fullmatch(r"[0-9]{1,9}", step):
                found = OfRun(check_ulid(run), int(step) if at else None)
        elif kind == "store":
            found = _of_store(rest)
        elif kind == "timm" and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", rest):
            found = OfTimm(rest)
    except ValueError:
        found = None
    need(found is not None, "model.init_from", f"{text[:80]!r} names no weights; {_FORMS}")
    return found


def _of_store(key: str) -> OfStore | None:
    """
    Raises:
        ValueError: the key is neither below ``weights/`` nor a run's.
    """
    # A part of dots would name another run's file to whatever shortens paths on the way to the store.
    plain = all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", part) and ".." not in part for part in key.split("/"))
    if not key.endswith(".safetensors") or not plain:
        return None
    if key.startswith(layout.weights_prefix()):
        layout.weights_file(key.removeprefix(layout.weights_prefix()))
    else:
        layout.parse_run(key)
    return OfStore(key)
