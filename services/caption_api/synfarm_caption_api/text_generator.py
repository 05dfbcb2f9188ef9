"""The seam to the LLM: one request in, one text out; and a fake that needs no server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from synfarm.queue.unit import EnvironmentFault, UnitFault
from synfarm_caption_api.prompts.template import SEPARATOR

__all__ = ["FakeGenerator", "Generation", "GeneratorAway", "ModelInfo", "PromptFails", "PromptRefused", "TextGenerator"]

FinishReason = Literal["length", "eos_token", "stop_sequence"]


class GeneratorAway(EnvironmentFault):
    """The LLM cannot be reached, times out or answers 5xx: wait, nothing of the unit is wrong."""


class PromptRefused(UnitFault):
    """The LLM refuses this very request (4xx), or fails at it each time while it answers others: the unit's fault.

    The message has the server's words.
    """


class PromptFails(PromptRefused):
    """The LLM's server fails at this very request each time (5xx), while it answers others: not for its length."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model answers."""

    model: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer."""

    text: str
    finish_reason: FinishReason
    tokens: int


class TextGenerator(Protocol):
    """Safe for any number of concurrent calls on one event loop."""

    async def info(self) -> ModelInfo:
        """The model behind it, asked once.

        Raises:
            GeneratorAway
        """

    async def probe(self) -> None:
        """Ask whether it is there now.

        Raises:
            GeneratorAway
        """

    async def generate(
        self, prompt: str, *, seed: int, temperature: float, top_p: float, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Generation:
        """Complete ``prompt``. Waits for a place below the concurrency limit; pacing answers (429) are waited out.

        Raises:
            GeneratorAway, PromptRefused
        """

    async def aclose(self) -> None: ...


class FakeGenerator:
    """Answers at once with ``answer(concept, seed)``, a pure function; counts its calls. For tests and dry stacks."""

    def __init__(self, answer: Callable[[str, int], str | Exception] | None = None, *, delay: float = 0.0) -> None:
        self._answer = answer or _sentence
        self._delay = delay
        self.calls = 0
        self.in_flight = 0
        self.peak = 0

    async def info(self) -> ModelInfo:
        return ModelInfo("fake", "0")

    async def probe(self) -> None:
        return None

    async def generate(
        self, prompt: str, *, seed: int, temperature: float, top_p: float, max_new_tokens: int, stop: Sequence[str] = ()
    ) -> Generation:
        self.calls += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(self._delay)
        finally:
            self.in_flight -= 1
        concept = prompt.rsplit("\n", 1)[-1].removesuffix(SEPARATOR).strip()
        answer = self._answer(concept, seed)
        if isinstance(answer, Exception):
            raise answer
        return Generation(answer, "stop_sequence", len(answer.split()))

    async def aclose(self) -> None:
        return None


def _sentence(concept: str, seed: int) -> str:
    colours = ("red", "blue", "green", "yellow", "white", "black", "orange", "purple")
    places = ("on a beach", "in a forest", "in the snow", "in a meadow", "in a kitchen", "in the desert")
    return f" a {concept} beside a {colours[seed % 8]} ball {places[seed // 8 % 6]}, number {seed}\n"
