"""What the user asked of the demo, and the job and run requests that follow from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from pydantic import JsonValue, ValidationError

from synfarm.cli.concept_source import concepts_from_text, read_text
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.submission import fault_in_words
from synfarm.concepts import Lexicon, load
from synfarm.contracts.ids import UlidStr
from synfarm.contracts.jobs import Concept, JobRequest
from synfarm.contracts.runs import RunRequest

__all__ = ["BadOption", "DemoOptions", "check_enough", "job_request", "run_request"]

_SPARE = 1.1
"""Planned over wanted captions: some slots stay empty when the model fails every redraw."""
_CAPTIONS_PER_UNIT = 8
_BATCH, _HELD_OUT, _VIEWS = 32, 0.3, 4
"""Of the trainer's preset `tiny`, which no command can import."""
_TOLD = 20
"""Concepts named in an error."""
_NO_JOB: UlidStr = "0" * 26


class BadOption(CommandFailed):
    """An option's value cannot be used; the message names it and the cure."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.REFUSED)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The command's options; see its help."""

    concepts: str = "48"
    captions: int = 480
    images: int = 4
    size: int = 64
    steps: int | None = None
    seed: int = 0
    data_dir: Path = Path("demo")
    fresh: bool = False

    def fingerprint(self) -> str:
        """The same for options that make the same job and run, whatever the concept file is called.

        Raises:
            BadOption: the concepts cannot be read or are not valid.
        """
        made_of = job_request(self).to_bytes() + run_request(self, _NO_JOB).to_bytes()
        return hashlib.sha256(made_of).hexdigest()[:16]

    def told(self) -> dict[str, JsonValue]:
        """What distinguishes this demo from another one, for its user's eyes."""
        return {
            "concepts": self.concepts,
            "captions": self.captions,
            "images": self.images,
            "size": self.size,
            "steps": self.steps,
            "seed": self.seed,
        }


def _concepts(value: str) -> Sequence[Concept]:
    shipped = load("collage")
    if value.isdigit():
        if not 1 <= int(value) <= len(shipped):
            raise BadOption(f"--concepts {value}: the set that ships has {len(shipped)}; ask for 1 to {len(shipped)}.")
        return shipped[: int(value)]
    if value != "-" and not Path(value).exists():
        raise BadOption(f"--concepts {value}: neither a number nor a file that exists.")
    source = "stdin" if value == "-" else value
    concepts = concepts_from_text(read_text(Path(value)), source)
    # The farm would refuse them too, but only once it has been started.
    _check_drawable(concepts, Lexicon(shipped), source)
    return concepts


def _check_drawable(concepts: Sequence[Concept], lexicon: Lexicon, source: str) -> None:
    strange: list[str] = []
    for concept in concepts:
        if lexicon.find(concept.name) is None:
            close = lexicon.near(concept.name)
            meant = f" (did you mean {', '.join(close)}?)" if close else ""
            strange.append(f"{concept.name!r}{meant}")
    if strange:
        more = f" and {len(strange) - _TOLD} more" if len(strange) > _TOLD else ""
        raise BadOption(
            f"{source}: the demo's renderer has no artwork for {', '.join(strange[:_TOLD])}{more}. On a running farm "
            "`synfarm concepts show collage` lists what it draws; with a GPU `synfarm jobs submit --renderer diffusers "
            "--model …` draws any concept."
        )


def _trained_on(captions: int, concepts: int) -> int:
    """Captions left to train on when so many, spread evenly over the concepts, lose the share that is held out.

    As the trainer holds out: of each concept the rounded share, at least one caption, but never its only one.
    """

    def left(each: int) -> int:
        return each if each < 2 else each - min(max(int(_HELD_OUT * each + 0.5), 1), each - 1)

    each, more = divmod(captions, concepts)
    return min((concepts - more) * left(each) + more * left(each + 1), int(captions * (1 - _HELD_OUT)))


def _planned(captions: int, concepts: int) -> int:
    """Whole rounds of the balanced draw, so that every concept gets equally many captions."""
    return max(1, -(-int(captions * _SPARE) // concepts)) * concepts


def check_enough(options: DemoOptions, concepts: int) -> None:
    """Without this a demo would make all its images before the trainer refuses them.

    Raises:
        BadOption: so few captions that no whole batch is left to train on.
    """

    def enough(captions: int) -> bool:
        return _trained_on(int(_planned(captions, concepts) / _SPARE), concepts) >= _BATCH

    if not enough(options.captions):
        least = next(captions for captions in count(options.captions) if enough(captions))
        raise BadOption(
            f"--captions {options.captions}: too few to train on. A batch takes {_BATCH}, after {_HELD_OUT:.0%} are "
            f"held out for evaluation: --captions {least} is the least for {concepts} concepts."
        )


def job_request(options: DemoOptions) -> JobRequest:
    """The job of the demo.

    Raises:
        CommandFailed: the concepts cannot be read or are not valid.
    """
    concepts = _concepts(options.concepts)
    try:
        return JobRequest.model_validate(
            {
                "name": "demo",
                "concepts": [concept.model_dump(mode="json") for concept in concepts],
                "concept_draw": "balanced",
                "captions": _planned(options.captions, len(concepts)),
                "images_per_caption": options.images,
                "seed": options.seed,
                "render": {"renderer": "collage", "size": options.size},
                # On a CPU reading prompts costs more than writing captions: a unit shares its examples, and the LLM
                # server reads them once. The paper draws anew for each caption, which is the default elsewhere.
                "caption": {"examples_per_draw": _CAPTIONS_PER_UNIT, "max_new_tokens": 48},
                "captions_per_unit": _CAPTIONS_PER_UNIT,
            }
        )
    except ValidationError as error:
        raise BadOption(f"--concepts {options.concepts}: {fault_in_words(error)}") from error


def run_request(options: DemoOptions, job: str) -> RunRequest:
    """The training run of the demo on the finished job."""
    overrides: dict[str, JsonValue] = {}
    if options.steps is not None:
        # The preset warms up for a tenth of its steps; a short run keeps that share.
        overrides = {"schedule.steps": options.steps, "schedule.warmup_steps": options.steps // 10}
    if options.images < _VIEWS:
        overrides["data.views"] = options.images
    return RunRequest(name="demo", preset="tiny", jobs=(job,), overrides=overrides, seed=options.seed)
