"""From concepts with their backgrounds to the sources of a recipe: one for each way in which concepts are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from synfarm.contracts.concepts import Concept, ConceptKind
from synfarm.contracts.origins import Template
from synfarm.contracts.recipes import Source
from synfarm_caption_api.prompts.library import Library, Settings
from synfarm_caption_api.prompts.mixes import IN1K, Slice

__all__ = ["Drawable", "gather", "moved_shares", "sources_of"]

_BARE = ", without backgrounds"
"""Ends the name of a source whose objects are not drawn by ``c,bg`` though it was asked for."""
_DOORS = frozenset({"indoor", "outdoor", "indoors", "outdoors"})


@dataclass(frozen=True, slots=True)
class Drawable:
    """A concept and the backgrounds that suit it; None if there are none."""

    concept: Concept
    backgrounds: tuple[str, ...] | None


def gather(part: Slice, library: Library, own: Mapping[str, tuple[str, ...]] | None = None) -> list[Drawable]:
    """The union of a slice's sets, each name once, the first set's first.

    Args:
        own: lists of backgrounds by name in lower case, in place of those that ship; the key '' stands for every name.
    """
    found: dict[str, Drawable] = {}
    for name in part.sets:
        settings = _cleaned(library.settings(name), lower=name == IN1K)
        for place, concept in enumerate(library.concepts(name)):
            group = settings.of[place] if settings is not None else -1
            shipped = settings.groups[group] if settings is not None and group >= 0 else None
            key = concept.name.casefold()
            backgrounds = own.get(key, own.get("", shipped)) if own is not None else shipped
            spoken = _spoken(concept, part)
            found.setdefault(spoken.name.casefold(), Drawable(spoken, backgrounds or None))
    return list(found.values())


def sources_of(
    name: str, weight: float, drawables: Sequence[Drawable], templates: Mapping[Template, float]
) -> list[Source]:
    """Sources that together draw uniformly from ``drawables``, with shares that sum to ``weight``.

    Objects are drawn by ``templates``, without ``c,bg`` where they have no backgrounds (its share goes to ``c``);
    places and textures by ``c`` alone (paper section 3.4).
    """
    plain = {Template.CONCEPT: 1.0}
    told = {template: share for template, share in templates.items() if share > 0}
    parts: dict[str, tuple[list[Drawable], Mapping[Template, float]]] = {}
    for drawable in drawables:
        kind = drawable.concept.kind
        if kind is not ConceptKind.OBJECT:
            parts.setdefault(f"{name}, {kind.value}s", ([], plain))[0].append(drawable)
        elif drawable.backgrounds is None and Template.BACKGROUND in told:
            moved = {**told, Template.CONCEPT: told.get(Template.CONCEPT, 0.0) + told[Template.BACKGROUND]}
            del moved[Template.BACKGROUND]
            parts.setdefault(f"{name}{_BARE}", ([], moved))[0].append(drawable)
        else:
            parts.setdefault(name, ([], told))[0].append(drawable)
    return [source(key, weight * len(members) / len(drawables), members, by) for key, (members, by) in parts.items()]


def moved_shares(sources: Sequence[Source]) -> tuple[str, ...]:
    """What :func:`sources_of` does otherwise than was asked, in a sentence; nothing if all is as asked."""
    bare = sum(len(source.concepts) for source in sources if source.name.endswith(_BARE))
    if not bare:
        return ()
    of = sum(len(source.concepts) for source in sources)
    return (f"{bare} of {of} concept{'s' if of > 1 else ''} without backgrounds: there c takes the share of c,bg.",)


def source(
    name: str,
    weight: float,
    drawables: Iterable[Drawable],
    templates: Mapping[Template, float],
    hypernyms: Sequence[tuple[str, ...]] = (),
) -> Source:
    """One source; equal lists of backgrounds are stored once."""
    members = list(drawables)
    groups: dict[tuple[str, ...], int] = {}
    of: list[int] = []
    if Template.BACKGROUND in templates or Template.JOINED in templates:
        of = [groups.setdefault(drawable.backgrounds or (), len(groups)) for drawable in members]
    return Source(
        name=name[:120],
        weight=weight,
        concepts=tuple(drawable.concept for drawable in members),
        templates=dict(templates),
        backgrounds=tuple(groups),
        background_of=tuple(of),
        hypernyms=tuple(hypernyms),
    )


def _cleaned(settings: Settings | None, *, lower: bool) -> Settings | None:
    """Stripped; those of IN-1k in lower case, as the released script has them."""
    if settings is None:
        return None
    groups = (tuple(" ".join(text.split()) for text in group) for group in settings.groups)
    return Settings(tuple(tuple(map(str.lower, group)) if lower else group for group in groups), settings.of)


def _spoken(concept: Concept, part: Slice) -> Concept:
    """The concept under the name that this slice's prompts use."""
    name = concept.name
    words = name.split()
    if part.drop_doors and len(words) > 1 and words[-1].strip("()/").casefold() in _DOORS:
        name = " ".join(words[:-1]).rstrip(",/(").strip()
    if part.suffix and not name.endswith(part.suffix):
        name += part.suffix
    if name == concept.name:
        return concept
    synonyms = tuple(dict.fromkeys((concept.name, *concept.synonyms)))[:32]
    return Concept(name=name[:80], synonyms=synonyms, kind=concept.kind)
