"""From a job's name of a model to a folder on this machine: below the models' folder, else from the hub."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_render_worker.model_proof import drop, not_as_listed, not_as_named
from synfarm_render_worker.renderer import Step, no_step

__all__ = ["PIPELINE_FILES", "ModelFiles", "fetch_model", "first_line"]

PIPELINE_FILES = (
    "model_index.json",
    "*/*.json",
    "*/*.txt",
    "*/*.model",
    "*/*model.safetensors",
    "*/*model-?????-of-?????.safetensors",
)
"""What a pipeline of diffusers is loaded from: no second variant of the weights, nothing but safetensors."""
_NEVER = ("safety_checker/*",)


class ModelFiles:
    """``root`` is the worker's ``SYNFARM_RENDER_MODELS``: None for hub ids only."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def find(
        self,
        field: str,
        model: str,
        revision: str | None,
        *,
        files: Sequence[str] = PIPELINE_FILES,
        step: Step = no_step,
    ) -> Path:
        """The model's folder; from the hub only ``files`` of it, kept in the hub's own cache.

        ``field`` is where the job names it: ``render``, ``render.lora``; ``step`` is called as bytes arrive.

        Raises:
            UnitFault: a hub id without a revision.
            EnvironmentFault: it cannot be had here and now.
        """
        local = self._local(field, model)
        if local is not None:
            return local
        if revision is None:
            cure = f"{field}.revision: pin {model!r} to a commit of its repository"
            if self._root is None:
                raise UnitFault(f"{cure}, or name a folder below the workers' SYNFARM_RENDER_MODELS (not set here)")
            raise EnvironmentFault(f"{cure}, or put a folder of that name below SYNFARM_RENDER_MODELS ({self._root})")
        return fetch_model(field, model, revision, files, bar=_bar(step))

    def _local(self, field: str, model: str) -> Path | None:
        if self._root is None:
            return None
        if not self._root.is_dir():
            raise EnvironmentFault(f"SYNFARM_RENDER_MODELS: there is no folder {self._root}; mount it, or correct it")
        root, found = self._root.resolve(), self._root / model
        if not found.exists():
            return None
        folder = found.resolve()
        # The folder itself first: of one that lies elsewhere nothing is listed.
        for path in chain((folder,), folder.rglob("*")):
            if not _lies_in(root, path):
                raise EnvironmentFault(
                    f"{field}.model: {model!r} has a link that leads out of SYNFARM_RENDER_MODELS "
                    f"({path.relative_to(root) if path.is_relative_to(root) else path.name}); copy the files into it"
                )
        if not folder.is_dir():
            raise EnvironmentFault(f"{field}.model: {model!r} is a file; name the folder that it lies in")
        return folder


def _lies_in(root: Path, path: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except RuntimeError:  # a link that leads to itself leads to no file of the model
        return False


def fetch_model(
    field: str,
    model: str,
    revision: str,
    files: Sequence[str],
    *,
    without: Sequence[str] = _NEVER,
    into: Path | None = None,
    bar: Any = None,
    proven: bool = False,
) -> Path:
    """``files`` but those ``without`` from the hub: into its cache, or as plain files ``into`` a folder.

    What lies there is as long as its repository says, wherever the list of its files is known. ``proven``: it must be
    known, every byte of the cache is read, and what is wrong is fetched again. ``bar`` shows the progress; by default
    the hub's own on stderr.

    Raises:
        EnvironmentFault: it cannot be had here and now, or not whole; the message names ``field``, and what to do.
    """
    named = f"{field}.model: {model!r} of revision {revision!r}"

    def fetch() -> tuple[Path, list[str] | None]:
        folder = _downloaded(field, model, revision, files, without=without, into=into, bar=bar)
        wrong = not_as_listed(folder, model, revision, files, without, into)
        return folder, wrong or not_as_named(folder) if proven and wrong is not None else wrong

    folder, wrong = fetch()
    if wrong:
        broken = EnvironmentFault(
            f"{named} is not whole: {wrong[0]} is missing or damaged in {folder} ({len(wrong)} such files); run "
            "python -m synfarm_render_worker.weights for it where the hub can be reached"
        )
        if not proven:
            raise broken
        for name in wrong:
            drop(folder / name)
        try:
            folder, wrong = fetch()
        except EnvironmentFault as error:
            raise broken from error
        if wrong:
            raise broken
    if proven and wrong is None:
        raise EnvironmentFault(
            f"{named} may not be whole: the list of its files is not in {folder}, and the hub cannot be reached; run "
            "this again when it can"
        )
    return folder


def _downloaded(
    field: str,
    model: str,
    revision: str,
    files: Sequence[str],
    *,
    without: Sequence[str],
    into: Path | None,
    bar: Any,
) -> Path:
    # Loads slowly, and a worker of collages does not have it.
    from huggingface_hub import errors, snapshot_download

    named = f"{field}.model: {model!r} of revision {revision!r}"
    try:
        return Path(
            snapshot_download(
                model,
                revision=revision,
                allow_patterns=[*files],
                ignore_patterns=[*without],
                local_dir=into,
                tqdm_class=bar,
            )
        )
    except errors.GatedRepoError as error:
        raise EnvironmentFault(
            f"{named} is gated: accept its terms on its page, and give this process a token that may read it "
            "(HF_TOKEN, or HF_TOKEN_PATH: a file with it)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise EnvironmentFault(
            f"{field}.revision: {model!r} has no {revision!r}; submit the job with a commit of its repository"
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise EnvironmentFault(
            f"{named}: the hub knows no such model, and there is no such folder below SYNFARM_RENDER_MODELS; correct "
            "the name, or, if it is private, give this process a token that may read it (HF_TOKEN, HF_TOKEN_PATH)"
        ) from error
    except errors.IncompleteSnapshotError as error:
        raise EnvironmentFault(
            f"{named} is not whole on this machine, and the hub cannot be reached ({first_line(error)}); run "
            "python -m synfarm_render_worker.weights for it where it can"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError) as error:
        raise EnvironmentFault(
            f"{named} is not on this machine, and the hub cannot be reached ({first_line(error)}); give this worker a "
            "way to it, or put the model's folder below SYNFARM_RENDER_MODELS"
        ) from error


def _bar(step: Step) -> Any:
    """A progress bar that nobody sees: a download of many gigabytes gets on, and may be told to end."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Told(tqdm):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **{**more, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> Any:
            step()
            return super().update(n)

    return Told


def first_line(error: BaseException, limit: int = 300) -> str:
    """What libraries say of a fault, short enough for a sentence; the name of the error if they say nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:limit] if lines else type(error).__name__
