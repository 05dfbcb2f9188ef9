"""``python -m synfarm_render_worker.weights``: fetches weights once, so that what loads them needs no network.

Pipelines and scorers go into the hub's cache (HF_HUB_CACHE), where a worker with HF_HUB_OFFLINE=1 finds them by name
and commit. A language model becomes a plain folder ``<name>@<commit>``, which inference servers take by its path: Text
Generation Inference asks the hub as soon as it is given a revision (router/src/server.rs of 3.x), whatever is cached.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from synfarm.queue.unit import EnvironmentFault
from synfarm_render_worker.model_files import PIPELINE_FILES, fetch_model

__all__ = ["LLM_FILES", "Pinned", "fetch_llm", "main", "missing_of"]

LLM_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""What inference servers load: safetensors, configuration, tokenizer."""
_NOT_OF_LLM = ("*/*", "consolidated*")
"""Folders with other forms of the weights, and Mistral's second copy of them."""
_EPILOG = """HF_TOKEN_PATH names a file with a token, for gated models. exit codes: 0 all are there; 1 one cannot be
had; 2 an argument is bad"""


class Pinned:
    """``owner/name@commit``."""

    def __init__(self, text: str) -> None:
        """
        Raises:
            argparse.ArgumentTypeError: it is not pinned to a commit.
        """
        self.model, _, self.commit = text.partition("@")
        if not self.model or not re.fullmatch(r"[0-9a-f]{40}", self.commit):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not pinned; give NAME@COMMIT, the 40 hex digits of a commit of its repository"
            )

    def __str__(self) -> str:
        return f"{self.model}@{self.commit}"


def fetch_llm(wanted: Pinned, folder: Path) -> Path:
    """The folder ``<folder>/<name>@<commit>``, whole or not at all: a server never meets half of a model.

    Raises:
        EnvironmentFault: it cannot be had here and now.
    """
    target = folder / str(wanted)
    if target.is_dir():
        return target
    # What a stopped download has left is gone on with.
    half = target.with_name(target.name + ".part")
    fetch_model("llm", wanted.model, wanted.commit, LLM_FILES, without=_NOT_OF_LLM, into=half, proven=True)
    if missing := missing_of(half):
        # While the hub is away its library gives a folder as it is, with no more than a warning.
        raise EnvironmentFault(
            f"llm.model: {str(wanted)!r} is not whole, {missing} is missing in {half}; if its repository has it, run "
            "this again when the hub can be reached"
        )
    return half.rename(target)


def missing_of(folder: Path) -> str | None:
    """A file without which no server loads the language model that lies there."""
    if not (folder / "config.json").is_file():
        return "config.json"
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return "tokenizer.json"
    for index in folder.glob("*.safetensors.index.json"):
        try:
            parts = {str(part) for part in json.loads(index.read_text())["weight_map"].values()}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return index.name
        # A part lies beside its index: a name with a folder in it leads elsewhere.
        return min((part for part in parts if Path(part).name != part or not (folder / part).is_file()), default=None)
    return None if any(folder.glob("*.safetensors")) else "model.safetensors"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; what is there is told on stdout, a line a model."""
    options = _parser().parse_args(arguments)
    folder: Path = options.llm_folder
    jobs: list[tuple[str, Pinned, Callable[[Pinned], Path]]] = [
        *(("pipeline", wanted, _fetch_pipeline) for wanted in options.pipeline),
        *(("scorer", wanted, _fetch_scorer) for wanted in options.scorer),
        *(("llm", wanted, lambda pinned: fetch_llm(pinned, folder)) for wanted in options.llm),
    ]
    if not jobs:
        _parser().error("nothing to fetch; name a --pipeline, --scorer or --llm")
    for kind, wanted, fetch in jobs:
        try:
            found = fetch(wanted)
        except (EnvironmentFault, OSError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        sys.stdout.write(f"{kind} {wanted}: {_bytes_of(found) / 1e9:.2f} GB in {found}\n")
        sys.stdout.flush()
    return 0


def _fetch_pipeline(wanted: Pinned) -> Path:
    return fetch_model("pipeline", wanted.model, wanted.commit, PIPELINE_FILES, proven=True)


def _fetch_scorer(wanted: Pinned) -> Path:
    # They load torch, which the other kinds do not need.
    from synfarm_render_worker.scoring.clip import CLIP_FILES
    from synfarm_render_worker.scoring.safety import SAFETY_FILES

    files = sorted({*CLIP_FILES, *SAFETY_FILES})
    return fetch_model("scorer", wanted.model, wanted.commit, files, proven=True)


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m synfarm_render_worker.weights", description=(__doc__ or "").partition("\n")[0], epilog=_EPILOG
    )
    for name, what in (
        ("--pipeline", "of diffusers, for render workers"),
        ("--scorer", "CLIP model or safety checker, for jobs with scores"),
        ("--llm", "language model, for the server that writes the captions"),
    ):
        parser.add_argument(name, type=Pinned, action="append", default=[], metavar="NAME@COMMIT", help=what)
    parser.add_argument(
        "--llm-folder",
        type=Path,
        default=Path("llm"),
        metavar="DIR",
        help="where language models are kept (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
