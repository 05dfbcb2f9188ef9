"""From what a job asks for to its recipe: named sets and mixes looked up, wrong names refused with near ones."""

from __future__ import annotations

import difflib
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import JobRequest
from synfarm.contracts.origins import RecipeRef, Template, Variant
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.recipes import Recipe, Source
from synfarm_caption_api.prompts.backgrounds import backgrounds_by_name
from synfarm_caption_api.prompts.library import Library
from synfarm_caption_api.prompts.mixes import IN1K, OBJECT_TEMPLATES, PAPER, PLACES, RELEASE, Slice
from synfarm_caption_api.prompts.pool_file import join_pools
from synfarm_caption_api.prompts.pools import RELATIONS, Pools
from synfarm_caption_api.prompts.sources import Drawable, gather, source, sources_of

__all__ = ["Made", "RecipeMaker", "needs_recipe"]

_TOLD = 40
"""Names of sets in one sentence: all that ship, and some of one's own."""


def needs_recipe(request: JobRequest) -> bool:
    """Whether more than a plain list of concepts (or captions that exist) is asked for."""
    named = bool(request.concept_set or request.mix) or request.variant not in {None, Variant.CC12M}
    extras = request.templates or request.backgrounds or request.examples
    return named or (bool(request.concepts) and extras is not None)


@dataclass(frozen=True, slots=True)
class Made:
    """A recipe, its canonical bytes and what names it, so that neither is made twice."""

    recipe: Recipe
    data: bytes
    ref: RecipeRef


class RecipeMaker:
    """Makes recipes; thread-safe. Those of shipped sets and mixes are made once a process."""

    def __init__(self, library: Library, pools: Pools) -> None:
        self._library, self._pools = library, pools
        self._made: dict[str, Made] = {}
        self._lock = threading.Lock()

    def make(self, request: JobRequest, library: Library | None = None) -> Made:
        """The recipe of a request that :func:`needs_recipe`.

        Args:
            library: the sets that its owner may name; those that ship unless given.

        Raises:
            ProblemError: 422, an unknown or held-out set, backgrounds or examples that do not fit.
        """
        shared = _shared_name(request, self._library)
        if shared is None:
            return self._make(request, library or self._library)
        with self._lock:  # one thread makes it, the others wait: it takes some tenths of a second
            if shared not in self._made:
                self._made[shared] = self._make(request, self._library)
            return self._made[shared]

    def warm(self) -> None:
        """Make the recipes of both mixes, so that the first job does not wait for them."""
        for mix in ("paper", "release"):
            self.make(JobRequest.model_validate({"mix": mix, "captions": 1}))

    def _make(self, request: JobRequest, library: Library) -> Made:
        name, sources = _sources(request, library)
        prompts = Template.JOINED not in sources[0].templates
        related = any(Template.RELATION in item.templates for item in sources)
        recipe = Recipe(
            name=name[:80],
            sources=tuple(sources),
            relations=RELATIONS if related else (),
            pools=join_pools(self._pools, request.examples).rows if prompts else (),
        )
        return Made(recipe, recipe.to_bytes(), recipe.ref())


def _sources(request: JobRequest, library: Library) -> tuple[str, list[Source]]:
    if request.variant is not None:
        return request.variant.value, _variant(request.variant, library)
    if isinstance(request.mix, str):
        return request.mix, _mix(PAPER if request.mix == "paper" else RELEASE, "mix", library)
    if isinstance(request.mix, dict):
        for name in request.mix:
            _check(name, f"mix.{name}", library)
        total = math.fsum(request.mix.values())
        slices = [Slice(share / total, (name,)) for name, share in request.mix.items()]
        return "own mix", _mix(slices, "mix", library, request.templates)
    if request.concept_set is not None:
        _check(request.concept_set, "concept_set", library)
        own = _own_backgrounds(request, library.concepts(request.concept_set))
        members = gather(Slice(1.0, (request.concept_set,)), library, own)
        return f"set {request.concept_set}", _alike(request.concept_set, members, request)
    own = _own_backgrounds(request, request.concepts) or {}
    members = [Drawable(c, own.get(c.name.casefold(), own.get(""))) for c in request.concepts]
    return "own concepts", _alike("own concepts", members, request)


def _mix(
    slices: Iterable[Slice], field: str, library: Library, templates: Mapping[Template, float] | None = None
) -> list[Source]:
    made: list[Source] = []
    for part in slices:
        for name in part.sets:
            _check(name, field, library)
        members = gather(part, library)
        if templates is not None:
            _refuse_bare(members, templates, f"mix.{part.sets[0]}")
        made += sources_of("+".join(part.sets), part.weight, members, templates or part.templates)
    return made


def _variant(variant: Variant, library: Library) -> list[Source]:
    if variant is Variant.OURS:
        return _mix(PAPER, "variant", library)
    for name in (IN1K, PLACES[0]):
        _check(name, "variant", library)
    members = gather(Slice(1.0, (IN1K,)), library)
    if variant is Variant.BACKGROUNDS:
        told = [member for member in members if member.backgrounds is not None]
        return [source(IN1K, 1.0, told, {Template.BACKGROUND: 1.0})]
    places = tuple(item.concept.name for item in gather(Slice(1.0, PLACES[:1]), library))
    placed = [Drawable(member.concept, places) for member in members]
    if variant is Variant.PLACES:
        return [source(IN1K, 1.0, placed, {Template.BACKGROUND: 1.0})]
    above = library.hypernyms(IN1K)
    if above is None:
        detail = f"Variant {variant.value!r} needs the hypernyms of {IN1K}, which this version does not have."
        raise ProblemError(422, "hypernyms_missing", detail, field="variant", hint="Choose another variant.")
    by_name = dict(zip((concept.name for concept in library.concepts(IN1K)), above, strict=True))
    return [source(IN1K, 1.0, placed, {Template.JOINED: 1.0}, [by_name[m.concept.name] for m in placed])]


def _check(name: str, field: str, library: Library) -> None:
    if library.has(name):
        return
    names = library.names()
    listed = ", ".join(names[:_TOLD]) + (" …" if len(names) > _TOLD else "")
    if name in library.held_out():
        detail = f"Set {name!r} evaluates concepts that pre-training has not seen (paper, table 9); no job draws it."
        hint = f"Draw from one of: {listed}."
        raise ProblemError(422, "concept_set_held_out", detail, field=field, hint=hint)
    near = difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"The sets are: {listed}."
    detail = f"There is no concept set {name!r}."
    raise ProblemError(422, "unknown_concept_set", detail, field=field, hint=hint)


def _shared_name(request: JobRequest, shipped: Library) -> str | None:
    """Under which a recipe is kept for the next request, of whatever owner; None if it holds something of a user's own.

    So none of a set that does not ship: others have other sets of that name, and its owner may replace it.
    """
    if request.templates is not None or request.backgrounds is not None or request.examples is not None:
        return None
    if request.variant is not None:
        return f"variant {request.variant.value}"
    if isinstance(request.mix, str):
        return f"mix {request.mix}"
    ships = request.concept_set is not None and shipped.has(request.concept_set)
    return f"set {request.concept_set}" if ships else None


def _alike(name: str, members: Sequence[Drawable], request: JobRequest) -> list[Source]:
    """Sources of one list or set, by the request's templates or those that suit it."""
    if request.templates is not None:
        _refuse_bare(members, request.templates, "templates")
    plain = request.concepts and request.backgrounds is None  # only the examples are the user's own
    default = {Template.CONCEPT: 1.0} if plain else OBJECT_TEMPLATES
    return sources_of(name, 1.0, members, request.templates or default)


def _refuse_bare(members: Sequence[Drawable], templates: Mapping[Template, float], field: str) -> None:
    """``c,bg`` was asked for by name: then every object has backgrounds, or ``c`` is asked for as well."""
    bare = [member.concept.name for member in members if member.backgrounds is None and member.concept.kind == "object"]
    if bare and templates.get(Template.BACKGROUND, 0) > 0 and not templates.get(Template.CONCEPT, 0):
        few = "1 concept has" if len(bare) == 1 else f"{len(bare)} concepts have"
        detail = f"Template 'c,bg' needs backgrounds, and {few} none: {', '.join(bare[:5])}."
        hint = "Send \"backgrounds\": a list for all concepts or one by concept; or give template 'c' a share as well."
        raise ProblemError(422, "backgrounds_missing", detail, field=field, hint=hint)


def _own_backgrounds(request: JobRequest, concepts: Iterable[Concept]) -> dict[str, tuple[str, ...]] | None:
    if request.backgrounds is None:
        return None
    return backgrounds_by_name(request.backgrounds, (concept.name for concept in concepts), "job")
