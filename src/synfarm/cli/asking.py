"""Options that say what to caption and by which prompts: the same for a job and for a try of its prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.option_groups import OptionGroup
from synfarm.cli.prompt_files import read_backgrounds, read_examples
from synfarm.cli.shares import parse_shares

if TYPE_CHECKING:
    from synfarm.contracts.concepts import Concept

__all__ = ["Asking", "LayoutName", "Use", "VariantName"]

VariantName = Literal["cc12m", "IN+h+Places", "IN+Places+LLM", "IN+OurBG+LLM", "ours"]
LayoutName = Literal["plain", "release", "subject"]
Use = Literal["extend", "replace"]
"""As the contracts have them, which are loaded only when a request is made."""

_SHIPS, _PROMPTS = "Concepts by name", "Prompts"
_TEMPLATES = "'c=0.44 c,bg=0.45 c,rel=0.11'"
_MIX = "'in1k=0.7,food101=0.3'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking(OptionGroup):
    """What is unset is left to the farm's defaults."""

    concept_set: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="NAME",
            help="A set that ships or one of your own; `synfarm concepts list` has them.",
            rich_help_panel=_SHIPS,
        ),
    ] = None
    mix: Annotated[
        str | None,
        typer.Option(
            metavar="MIX", help=f"Several sets: paper, release, or shares of sets, {_MIX}.", rich_help_panel=_SHIPS
        ),
    ] = None
    variant: Annotated[
        VariantName | None, typer.Option(help="A caption set of the paper's table 2.", rich_help_panel=_SHIPS)
    ] = None
    templates: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES",
            help=f"Shares of the prompts, {_TEMPLATES}; or one of them alone.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None
    backgrounds: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For c,bg: JSON, a list for all concepts, or lists by concept.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Examples of your own: CSV with the columns pool,concept,second,caption, or JSON lines.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None
    examples_use: Annotated[
        Use | None,
        typer.Option(
            help="extend: beside ours, which is the default; replace: in their place.", rich_help_panel=_PROMPTS
        ),
    ] = None
    layout: Annotated[
        LayoutName | None, typer.Option(help="How prompts are laid out: plain, unless told.", rich_help_panel=_PROMPTS)
    ] = None
    examples_per_draw: Annotated[
        int | None,
        typer.Option(help="Captions in sequence that share their examples; 1 unless told.", rich_help_panel=_PROMPTS),
    ] = None
    temperature: Annotated[
        float | None, typer.Option(help="Of the language model; the paper's unless told.", rich_help_panel=_PROMPTS)
    ] = None
    top_p: Annotated[
        float | None, typer.Option(help="Of the language model; the paper's unless told.", rich_help_panel=_PROMPTS)
    ] = None
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Tokens of an answer at most; 100 unless told.", rich_help_panel=_PROMPTS)
    ] = None
    min_words: Annotated[
        int | None, typer.Option(help="Words of a caption at least; 4 unless told.", rich_help_panel=_PROMPTS)
    ] = None
    max_words: Annotated[
        int | None, typer.Option(help="Words of a caption at most; 40 unless told.", rich_help_panel=_PROMPTS)
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.", rich_help_panel=_PROMPTS)] = 0

    @property
    def named(self) -> list[str]:
        """Options that were used to say what to caption."""
        options = {"--set": self.concept_set, "--mix": self.mix, "--variant": self.variant}
        return [option for option, value in options.items() if value is not None]

    def body(self, concepts: Sequence[Concept]) -> dict[str, Any]:
        """The fields of a request that are set; files are read.

        Raises:
            CommandFailed: a value or a file cannot be used.
        """
        if self.examples_use is not None and self.examples is None:
            raise CommandFailed("--examples-use belongs to --examples FILE.", ExitCode.REFUSED)
        fields: dict[str, Any] = {
            "concepts": [concept.model_dump() for concept in concepts] or None,
            "concept_set": self.concept_set,
            "mix": None if self.mix is None else _mix(self.mix),
            "variant": self.variant,
            "templates": None if self.templates is None else _templates(self.templates),
            "backgrounds": None if self.backgrounds is None else read_backgrounds(self.backgrounds, concepts),
            "examples": None if self.examples is None else read_examples(self.examples, self.examples_use or "extend"),
            "caption": self._caption(),
            "seed": self.seed,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _caption(self) -> dict[str, Any] | None:
        names = ("layout", "examples_per_draw", "temperature", "top_p", "max_new_tokens", "min_words", "max_words")
        told = {name: getattr(self, name) for name in names}
        return {name: value for name, value in told.items() if value is not None} or None


def _mix(text: str) -> str | dict[str, float]:
    if text in {"paper", "release"}:
        return text
    if "=" not in text:
        what = f"{text[:80]!r} is neither paper nor release, nor shares of sets such as {_MIX}"
        raise CommandFailed(f"--mix: {what}.", ExitCode.REFUSED)
    return parse_shares(text, "--mix", _MIX)


def _templates(text: str) -> dict[str, float]:
    known = ("c", "c,bg", "c,rel")
    shares = {text: 1.0} if text in known else parse_shares(text, "--templates", _TEMPLATES)
    for name in shares:
        if name not in known:
            raise CommandFailed(f"--templates: {name!r} is no prompt; they are c, c,bg and c,rel.", ExitCode.REFUSED)
    return shares
