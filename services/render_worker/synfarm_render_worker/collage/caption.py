"""Reads a caption: which concepts it names, and the colour, size, count, relation and background words around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from synfarm.concepts import is_plural_only, plurals
from synfarm.contracts.jobs import Concept
from synfarm_render_worker.collage.nouns import (
    ALSO_VERBS,
    PHRASE_ENDS,
    Number,
    is_colour_here,
    joins_adjectives,
    phrase_start,
    stands_as_noun,
)
from synfarm_render_worker.collage.phrases import STOPS, Phrases, tokens
from synfarm_render_worker.collage.scene import Relation, SceneRecord, Size, Thing
from synfarm_render_worker.collage.words import (
    BACKGROUND_HINTS,
    BACKGROUNDS,
    COLOURS,
    CONTAINERS,
    COUNTS,
    DEPICTIONS,
    RELATIONS,
    SIZES,
    SURFACES,
    WEARABLE,
)

__all__ = ["CaptionReader", "NoConceptNamed"]

_COPULAS = frozenset({"is", "are", "was", "were", "painted", "colored", "coloured"})
_ON = frozenset({"on", "at", "atop", "upon", "onto", "across", "from", "off"})


class NoConceptNamed(ValueError):
    """The caption names nothing that there is artwork for."""


@dataclass(frozen=True, slots=True)
class _Form:
    """One word or phrase that names a concept."""

    concept: str
    number: Number
    also_verb: bool
    tells_one: bool
    """Already plural in the singular: a pair of scissors is one thing."""


@dataclass(frozen=True, slots=True)
class _Mention:
    start: int
    end: int
    form: _Form

    @property
    def concept(self) -> str:
        return self.form.concept


class CaptionReader:
    """Turns a caption into a :class:`SceneRecord`; nothing but the caption goes in.

    The concept named first is the subject, the next other one the second thing. A colour, size or count belongs to the
    noun whose phrase it stands in (``a big red car``), or that it is said of (``the car is red``). A word that may be
    a verb or a colour counts as a concept only if the caption names no other.
    """

    def __init__(self, concepts: Iterable[Concept]) -> None:
        self._concepts = Phrases(_forms(concepts))
        self._colours, self._sizes, self._counts = Phrases.of(COLOURS), Phrases.of(SIZES), Phrases.of(COUNTS)
        self._relations: Phrases[Relation] = Phrases.of(RELATIONS)
        self._backgrounds, self._hints = Phrases.of(BACKGROUNDS), Phrases.of(BACKGROUND_HINTS)

    def read(self, caption: str) -> SceneRecord:
        """The scene that the caption describes.

        Raises:
            NoConceptNamed: no concept, synonym or plural of one occurs as a whole word.
        """
        words = tokens(caption)
        named = [_Mention(start, end, form) for form, start, end in self._concepts.within(words, 0, len(words))]
        mentions = _things(words, self._outside_places(words, named)) or _things(words, named)
        if not mentions:
            raise NoConceptNamed(f"the caption names no concept that the collage renderer can draw: {caption[:200]!r}")
        first = mentions[0]
        other = next((m for m in mentions if m.concept != first.concept), None)
        relation = None if other is None else self._relation(words, first, other)
        if other is not None and _holds(words, first, other):
            first, other, relation = other, first, "in"
        third = None
        if relation == "between" and other is not None:
            third = next((m for m in mentions if m.start > other.start and m.concept != first.concept), None)
        return SceneRecord(
            subject=self._thing(words, first, named),
            second=None if other is None else self._thing(words, other, named),
            relation=relation,
            background=self._background(words, mentions, other),
            third=None if third is None else self._thing(words, third, named),
        )

    def _outside_places(self, words: Sequence[str], named: Sequence[_Mention]) -> list[_Mention]:
        """The mentions that are no part of a longer phrase for a place: a flower bed holds neither flower nor bed."""
        places = [(start, end) for _, start, end in self._backgrounds.within(words, 0, len(words)) if end - start > 1]
        return [m for m in named if not any(a <= m.start and m.end <= b and m.end - m.start < b - a for a, b in places)]

    def _thing(self, words: Sequence[str], mention: _Mention, named: Sequence[_Mention]) -> Thing:
        before = max((m.end for m in named if m.end <= mention.start and not _describes(words, m)), default=0)
        start = phrase_start(words, mention.start, before)
        colours = [colour for colour, *_ in self._colours.within(words, start, mention.start)]
        sizes = [size for size, *_ in self._sizes.within(words, start, mention.start)]
        colour = colours[-1] if colours else self._said_of(words, mention, named)
        size: Size | None = sizes[-1] if sizes else None
        return Thing(mention.concept, colour, size, self._count(words, start, mention))

    def _said_of(self, words: Sequence[str], mention: _Mention, named: Sequence[_Mention]) -> str | None:
        """The colour in ``the car is bright red`` or ``a car painted red``."""
        after = min((m.start for m in named if m.start >= mention.end and not _describes(words, m)), default=len(words))
        end = min(after, mention.end + 4)
        if mention.end >= end or words[mention.end] not in _COPULAS:
            return None
        for place in range(mention.end + 1, end):
            found = self._colours.at(words, place, end)
            if found is not None:
                return found[0]
            if words[place] in PHRASE_ENDS or words[place] in STOPS:
                return None
        return None

    def _count(self, words: Sequence[str], start: int, mention: _Mention) -> int | None:
        # The phrase of "a group of dogs" reaches over its "of", which ends every other phrase.
        if start >= 2 and words[start - 1] == "of":
            grouped = self._counts.at(words, start - 2, start)
            if grouped is not None and grouped[1] == 2:
                return 1 if mention.form.tells_one and grouped[0] == 2 else grouped[0]
        said = [count for count, *_ in self._counts.within(words, start, mention.start)]
        more = next((count for count in reversed(said) if count != 1), None)
        if mention.form.number == "many" or (mention.form.number == "either" and not said):
            return more
        return 1 if more is None else more

    def _relation(self, words: Sequence[str], first: _Mention, other: _Mention) -> Relation | None:
        said = [
            relation
            for relation, place, _ in self._relations.within(words, first.end, other.start)
            if not joins_adjectives(words, place)
        ]
        if not said:
            return None
        if other.concept in WEARABLE and first.concept not in WEARABLE:
            near = phrase_start(words, other.start, first.end)
            return "wearing" if words[near - 1] in {"in", "with"} else said[-1]
        # "a dog in the grass behind a car": the word nearest to the second thing tells where it is.
        return said[-1]

    def _background(self, words: Sequence[str], mentions: Sequence[_Mention], second: _Mention | None) -> str | None:
        free = list(words)
        for mention in mentions:
            free[mention.start : mention.end] = [""] * (mention.end - mention.start)
        for table in (self._backgrounds, self._hints):
            for place, start, end in table.within(free, 0, len(free)):
                if words[end - 1] not in ALSO_VERBS or stands_as_noun(words, start, "one"):
                    return place
        if second is None or second.concept in SURFACES:
            return None
        # What stands beside the subject also tells of a place, where nothing else does: "a cat on a bed".
        implied = self._backgrounds.within(words, second.start, second.end)
        return next((place for place, *_ in implied), None)


def _forms(concepts: Iterable[Concept]) -> Iterator[tuple[str, _Form]]:
    """Every word for every concept: first all names and synonyms, so that no plural takes one."""
    listed = [(form, concept.name) for concept in concepts for form in (concept.name, *concept.synonyms)]
    for form, name in listed:
        either: Number = "either" if form.casefold() in plurals(form) else "one"
        single = is_plural_only(form)
        yield form, _Form(name, "one" if single else either, form.casefold() in ALSO_VERBS, single)
    for form, name in listed:
        for many in plurals(form):
            yield many, _Form(name, "many", form.casefold() in ALSO_VERBS, False)


def _things(words: Sequence[str], named: Sequence[_Mention]) -> list[_Mention]:
    """The mentions that are things of the picture; those that may be none, where there is no other."""
    sure = [mention for mention in named if not _describes(words, mention) and not _frames(words, mention)]
    heads = [mention for i, mention in enumerate(sure) if not _is_modifier(mention, sure[i + 1 : i + 2])]
    raised = [mention for mention in heads if not (mention.concept in SURFACES and _is_ground(words, mention))]
    if len(raised) > 1 and _is_worn_by_another(words, raised[0]) and raised[1].concept not in WEARABLE:
        raised = raised[1:]
    return raised or heads or list(named)


def _is_modifier(mention: _Mention, following: Sequence[_Mention]) -> bool:
    """The apple of 'an apple tree': of two nouns side by side the last one is the thing."""
    return mention.form.number != "many" and any(other.start == mention.end for other in following)


def _describes(words: Sequence[str], mention: _Mention) -> bool:
    """The word is a verb or a colour here, as far as its neighbours tell."""
    if mention.form.also_verb and not stands_as_noun(words, mention.start, mention.form.number):
        return True
    return mention.form.number == "one" and is_colour_here(words, mention.start, mention.end)


def _frames(words: Sequence[str], mention: _Mention) -> bool:
    return mention.concept in DEPICTIONS and words[mention.end : mention.end + 1] == ["of"]


def _is_worn_by_another(words: Sequence[str], first: _Mention) -> bool:
    """The hat of 'a man in a hat', who is no concept himself: no one thinks of the hat as what is shown."""
    before = phrase_start(words, first.start, 0)
    return first.concept in WEARABLE and before > 0 and words[before - 1] in {"in", "with", "wearing"}


def _is_ground(words: Sequence[str], mention: _Mention) -> bool:
    before = phrase_start(words, mention.start, 0)
    return before > 0 and (words[before - 1] in _ON or words[max(0, before - 3) : before] == ["on", "top", "of"])


def _holds(words: Sequence[str], first: _Mention, other: _Mention) -> bool:
    """'A basket of apples', 'a jar full of cookies', 'a vase with roses'."""
    if first.concept not in CONTAINERS or other.concept in CONTAINERS:
        return False
    between = words[first.end : other.start]
    return between[:1] in (["of"], ["with"], ["containing"]) or between[:2] in (["full", "of"], ["filled", "with"])
