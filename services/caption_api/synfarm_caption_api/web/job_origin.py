"""What a new job captions, as its form asks for it: one choice with the fields that go with it, templates, settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from synfarm.concepts import BadConceptList, parse_concept_list
from synfarm.contracts.concepts import Phrase
from synfarm.contracts.ids import check_ulid
from synfarm.contracts.origins import Template, Variant
from synfarm_caption_api.web.form_problems import FormProblems, single

__all__ = [
    "CHOICES",
    "DRAWN_BY_COLLAGE",
    "MIXES",
    "ORIGIN_PLACES",
    "TEMPLATE_FIELDS",
    "VARIANTS",
    "origin_values",
    "read_origin",
]

CHOICES: Mapping[str, str] = {
    "concepts": "Own concepts",
    "concept_set": "Concept set",
    "mix": "Mix of sets",
    "variant": "Variant",
    "file": "Captions of a file",
    "job": "Captions of a job",
}
DRAWN_BY_COLLAGE = ("demo", "collage")
"""The sets whose every concept the collage renderer can draw."""
MIXES: Mapping[str, str] = {
    "paper": "paper: the rough shares of table 11",
    "release": "release: as the released script draws",
    "own": "own shares",
}
VARIANTS: Mapping[str, str] = {
    Variant.OURS: "ours: the paper's own captions",
    Variant.BACKGROUNDS: "IN+OurBG+LLM: ImageNet concepts with backgrounds that suit them",
    Variant.PLACES: "IN+Places+LLM: ImageNet concepts in places",
    Variant.HYPERNYMS_PLACES: "IN+h+Places: no language model, words joined",
}
"""Of table 2; ``cc12m``, its fifth, are captions of a file."""
TEMPLATE_FIELDS: Mapping[str, Template] = {
    "template_c": Template.CONCEPT,
    "template_bg": Template.BACKGROUND,
    "template_rel": Template.RELATION,
}
ORIGIN_PLACES: Mapping[str, str] = {
    "concepts": "concepts",
    "concept_set": "concept_set",
    "mix": "mix",
    "variant": "variant",
    "captions_from.file": "file",
    "captions_from.job": "from_job",
    "templates": "templates",
    **{f"templates.{template.value}": field for field, template in TEMPLATE_FIELDS.items()},
    "backgrounds": "backgrounds",
}
"""Dotted name of the request to form field."""

_MOST_LINES = 100_000
"""Twice as many as a job takes concepts: a longer list is refused before its lines are read, which costs 40 µs each."""
_MOST_SETTINGS = 1000
_PHRASE: TypeAdapter[str] = TypeAdapter(Phrase)


def origin_values() -> dict[str, str]:
    """These fields as a fresh form shows them."""
    empty = dict.fromkeys(("concepts", "mix_shares", "file", "from_job", *TEMPLATE_FIELDS, "backgrounds"), "")
    return {**empty, "what": "concepts", "concept_set": "demo", "mix": "paper", "variant": Variant.OURS.value}


def read_origin(values: Mapping[str, str]) -> tuple[dict[str, Any], FormProblems]:
    """The part of the request that says what to caption, and what is wrong with it.

    What belongs to another choice is left alone: it stays in the form, and out of the job. With a problem the body
    holds a concept in place of what cannot be read, so that the other fields are judged too.
    """
    readers: Mapping[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
        "concepts": _own_concepts,
        "concept_set": lambda given: {"concept_set": _needed(given, "concept_set", "choose a set")},
        "mix": _mix,
        "variant": lambda given: {"variant": _needed(given, "variant", "choose a variant")},
        "file": lambda given: {"captions_from": {"file": _needed(given, "file", "name a file that you have uploaded")}},
        "job": _job,
    }
    body: dict[str, Any] = {}
    problems: FormProblems = {}
    try:
        body |= readers[_chosen(values)](values)
    except _Unreadable as error:
        problems |= single(error.field, error.fault)
        body["concepts"] = ["dog"]
    try:
        body |= _backgrounds(values)
    except _Unreadable as error:
        problems |= single(error.field, error.fault)
    shares = {template.value: values.get(field, "").strip() for field, template in TEMPLATE_FIELDS.items()}
    if any(shares.values()):
        body["templates"] = {template: share for template, share in shares.items() if share}
    return body, problems


class _Unreadable(Exception):
    """A field cannot be read; ``fault`` says why, and what to write instead."""

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(fault)
        self.field, self.fault = field, fault


def _chosen(values: Mapping[str, str]) -> str:
    what = values.get("what", "")
    if what not in CHOICES:
        raise _Unreadable("what", "choose what to caption")
    return what


def _needed(values: Mapping[str, str], field: str, cure: str) -> str:
    text = values.get(field, "").strip()
    if not text:
        raise _Unreadable(field, f"is missing: {cure}")
    return text


def _job(values: Mapping[str, str]) -> dict[str, Any]:
    text = _needed(values, "from_job", "give the id of a job of yours")
    try:
        return {"captions_from": {"job": check_ulid(text)}}
    except ValueError as error:
        fault = f"{text[:80]!r} is no id of a job; it stands beside the name on the job's page"
        raise _Unreadable("from_job", fault) from error


def _own_concepts(values: Mapping[str, str]) -> dict[str, Any]:
    text = values.get("concepts", "")
    if text.count("\n") > _MOST_LINES:
        fault = f"the list has more than {_MOST_LINES:,} lines; a job takes half as many concepts"
        raise _Unreadable("concepts", fault)
    try:
        return {"concepts": [concept.model_dump() for concept in parse_concept_list(text)]}
    except BadConceptList as error:
        raise _Unreadable("concepts", str(error)) from error


def _mix(values: Mapping[str, str]) -> dict[str, Any]:
    mix = _needed(values, "mix", "choose a mix")
    if mix != "own":
        if mix not in MIXES:
            raise _Unreadable("mix", f"{mix[:80]!r} is no mix that ships: choose one of {', '.join(MIXES)}")
        return {"mix": mix}
    shares: dict[str, float] = {}
    for number, line in _lines(values.get("mix_shares", ""), "mix_shares"):
        name, _, share = line.replace("=", " ").replace(":", " ").rpartition(" ")
        name = name.strip()
        try:
            part = float(share)
        except ValueError:
            part = 0.0
        if not name or not 0 < part <= 1:
            fault = f"line {number}: write a set and its share between 0 and 1, for example in1k 0.5"
            raise _Unreadable("mix_shares", fault)
        if name in shares:
            raise _Unreadable("mix_shares", f"line {number}: {name} has a share already; leave one of them out")
        shares[name] = part
    if not shares:
        raise _Unreadable("mix_shares", "is missing: write a set and its share, one a line, for example in1k 0.5")
    return {"mix": shares}


def _backgrounds(values: Mapping[str, str]) -> dict[str, Any]:
    """``a, b`` for every concept, or ``concept: a, b`` for that one; not both."""
    for_all: list[str] = []
    by_concept: dict[str, list[str]] = {}
    for number, line in _lines(values.get("backgrounds", ""), "backgrounds"):
        name, colon, rest = (part.strip() for part in line.rpartition(":"))
        settings = for_all
        if colon:
            settings = by_concept.setdefault(_phrase(name, number), [])
        # Counted before they are read: one line may hold millions of commas.
        if len(settings) + rest.count(",") + 1 > _MOST_SETTINGS:
            raise _Unreadable("backgrounds", f"line {number}: more than {_MOST_SETTINGS:,} backgrounds; leave some out")
        settings += [_phrase(setting.strip(), number) for setting in rest.split(",")]
        if for_all and by_concept:
            fault = f"line {number}: name a concept on every line (concept: background), or on none, for all concepts"
            raise _Unreadable("backgrounds", fault)
    found = for_all or by_concept
    return {"backgrounds": found} if found else {}


def _phrase(text: str, number: int) -> str:
    try:
        return _PHRASE.validate_python(text)
    except ValidationError as error:
        told = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise _Unreadable("backgrounds", f"line {number}: {text[:80]!r}: {told[0].lower()}{told[1:]}") from error


def _lines(text: str, field: str) -> Iterator[tuple[int, str]]:
    """Lines with something in them, by number from 1; ``#`` begins a comment."""
    if text.count("\n") > _MOST_LINES:
        raise _Unreadable(field, f"more than {_MOST_LINES:,} lines; leave some out")
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].strip()
        if line:
            yield number, line
