"""Whether a model that is to be drawn with here can be found, before a process is started that loads it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from synfarm.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from synfarm.contracts.render_settings import RenderSettings

__all__ = ["check_model"]


def check_model(render: RenderSettings, models: Path | None) -> None:
    """Nothing, if it is a folder below ``models``, or may be a model of the hub.

    Raises:
        CommandFailed: it is neither.
    """
    named = render.model or ""
    if models is not None and not models.is_dir():
        raise CommandFailed(f"--models {models}: there is no such folder.", ExitCode.REFUSED)
    if render.revision is not None or (models is not None and (models / named).is_dir()):
        return
    where = "--models DIR is not given" if models is None else f"there is no such folder below {models}"
    raise CommandFailed(
        f"--model {named!r}: {where}, and a model of the hub needs --revision COMMIT{_cure(named, models)}",
        ExitCode.REFUSED,
    )


def _cure(named: str, models: Path | None) -> str:
    here = Path(named)
    if here.is_dir():
        return f". For the folder {named}: --models {here.resolve().parent} --model {here.resolve().name}"
    there = [] if models is None else [path.name for path in models.iterdir() if path.is_dir()]
    near = difflib.get_close_matches(named, there, n=1, cutoff=0.5)
    return f". Did you mean {near[0]}?" if near else "."
