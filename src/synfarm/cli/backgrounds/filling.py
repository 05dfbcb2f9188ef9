"""Asking a farm for settings of many concepts, a few at a time, each answer stored before the next question."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from synfarm.cli.backgrounds.stored import BackgroundFile
from synfarm.cli.tables import span

if TYPE_CHECKING:
    from synfarm.contracts.backgrounds import BackgroundsRequest
    from synfarm.contracts.concepts import Concept
    from synfarm.sdk import AsyncClient

__all__ = ["Made", "Wish", "fill"]

_ROUNDS_AT_ONCE = 2
"""Of a request: a list that dries up shows in two rounds, and what a kill may lose is small."""
_EVERY = 5.0
"""Seconds between lines about those that are not finished."""
_BEAT = 2.0
"""Seconds between beats."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for, alike for every concept."""

    n: int
    rounds: int
    """At most, a concept."""
    options: dict[str, Any]
    """Fields of the request that the user has set."""


@dataclass(slots=True)
class Made:
    """What became of one concept."""

    concept: str
    kept: int
    """Settings that were in the file."""
    new: int = 0
    rounds: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    ended: str = "kept"
    """As the API says; ``kept`` where nothing had to be asked."""

    @classmethod
    def before(cls, concept: Concept, file: BackgroundFile) -> Self:
        """Of a concept about which nothing was asked yet."""
        return cls(concept.name, len(file.of(concept.name)))

    @property
    def settings(self) -> int:
        return self.kept + self.new

    def told(self, n: int) -> str:
        """In words, for a line that begins with the concept."""
        if self.settings >= n:
            return f"{self.settings} settings"
        why = "the model has no more to say" if self.ended == "dry" else f"{self.rounds} rounds used up"
        refused = ", ".join(f"{reason} {count}" for reason, count in self.refused.most_common())
        return f"{self.settings} of {n} settings, {why}; refused: {refused or 'none'}"


async def fill(
    client: AsyncClient,
    concepts: Sequence[Concept],
    file: BackgroundFile,
    wish: Wish,
    *,
    at_once: int,
    told: Callable[[str], None],
    beat: Callable[[str], None] | None = None,
) -> tuple[list[Made], str | None]:
    """Fill the lists of the file, ``at_once`` concepts at a time; what became of each, and the model's name.

    Args:
        told: lines that stay.
        beat: every few seconds, how far it is; for a place where the next such line takes that of the last.

    Raises:
        ApiError, ApiUnreachable: the first error; every answer until then is in the file.
        OSError: the file cannot be written.
    """
    made = [Made.before(concept, file) for concept in concepts]
    open_ = [pair for pair in zip(concepts, made, strict=True) if pair[1].kept < wish.n]
    progress = _Progress(len(open_), told)
    models: set[str] = set()
    together = min(at_once, len(open_))
    told(f"{_counted(len(open_))}, {together} at a time; the first answers take a while")

    async def work(pairs: Iterator[tuple[Concept, Made]]) -> None:
        for concept, state in pairs:
            await _one(client, concept, file, wish, state, models, progress)
            progress.finished(f"{concept.name}: {state.told(wish.n)}")

    queue = iter(open_)
    tasks = [asyncio.ensure_future(work(queue)) for _ in range(together)]
    heart = asyncio.ensure_future(_beating(progress, beat))
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in (*tasks, heart):
            task.cancel()
        await asyncio.gather(*tasks, heart, return_exceptions=True)
        file.save()
    return made, ", ".join(sorted(models)) or None


def _counted(concepts: int) -> str:
    return f"{concepts} concept" if concepts == 1 else f"{concepts} concepts"


async def _beating(progress: _Progress, beat: Callable[[str], None] | None) -> None:
    while beat is not None:
        beat(progress.line())
        await asyncio.sleep(_BEAT)


async def _one(
    client: AsyncClient,
    concept: Concept,
    file: BackgroundFile,
    wish: Wish,
    state: Made,
    models: set[str],
    progress: _Progress,
) -> None:
    while state.rounds < wish.rounds and state.ended in {"kept", "rounds"}:
        answer = await client.make_backgrounds(_request(concept, file, wish, wish.rounds - state.rounds))
        (item,) = answer.items
        file.add(concept.name, item.backgrounds)
        models.add(answer.llm_model)
        progress.answers += 1
        state.new += len(item.backgrounds)
        state.rounds += item.rounds
        state.refused.update({reason.value: count for reason, count in item.refused.items()})
        state.ended = item.ended.value
        if state.ended == "rounds":
            progress.moved(f"{concept.name}: {state.settings} of {wish.n} settings so far")


def _request(concept: Concept, file: BackgroundFile, wish: Wish, rounds: int) -> BackgroundsRequest:
    from synfarm.contracts.backgrounds import BackgroundsRequest

    known = {concept.name: file.of(concept.name)}
    return BackgroundsRequest.model_validate(
        {
            "concepts": [concept.model_dump()],
            "n": wish.n,
            "known": known,
            "max_rounds": min(_ROUNDS_AT_ONCE, rounds),
            **wish.options,
        }
    )


class _Progress:
    """A line for every concept that is finished, and one now and then for those that are not."""

    def __init__(self, concepts: int, told: Callable[[str], None]) -> None:
        self._concepts, self._told = concepts, told
        self._began = time.monotonic()
        self._done, self._next = 0, self._began + _EVERY
        self.answers = 0

    def line(self) -> str:
        """How far it is, in one line."""
        answers = "no answer yet" if not self.answers else f"{self.answers} answers"
        return f"[{self._done}/{self._concepts}] asking for {span(time.monotonic() - self._began)}, {answers}"

    def moved(self, line: str) -> None:
        if time.monotonic() >= self._next:
            self._say(line)

    def finished(self, line: str) -> None:
        self._done += 1
        self._say(line)

    def _say(self, line: str) -> None:
        self._told(f"[{self._done}/{self._concepts}] {line}")
        self._next = time.monotonic() + _EVERY
