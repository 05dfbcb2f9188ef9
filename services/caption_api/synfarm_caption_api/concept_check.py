"""What a renderer can draw, checked when a job is submitted and not when its first unit fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from synfarm.concepts import Lexicon
from synfarm.contracts.jobs import Concept, JobRequest
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.recipes import Recipe

__all__ = ["check_recipe", "resolve_concepts", "with_synonyms"]

_TOLD = 10
"""Unknown words told at once, each with near names, so that a long list is mended in one go."""
_DIFFUSERS = (
    'GET /v1/concept-sets/collage lists what it can draw. A diffusion model draws any concept: "render": '
    '{"renderer": "diffusers", "model": HUB_ID_OR_FOLDER, "revision": COMMIT, "family": "sd15"} (needs a GPU worker).'
)


@dataclass(frozen=True, slots=True)
class _Fault:
    """One word of the request that the collage renderer cannot draw as asked."""

    field: str
    word: str
    of: str | None = None
    """The concept for which it is a synonym; None: it is the name."""

    def told(self, lexicon: Lexicon) -> str:
        """The word with what may have been meant by it."""
        if self.of is None:
            close = lexicon.near(self.word)
            return f"{self.word!r} (did you mean {' or '.join(close)}?)" if close else repr(self.word)
        # Near names would be those of other concepts.
        other = lexicon.find(self.word)
        means = f" (it draws {other.name} for that word)" if other is not None else ""
        return f"{self.word!r} as {self.of!r}{means}"


def resolve_concepts(request: JobRequest, vocabulary: Sequence[Concept]) -> tuple[Concept, ...]:
    """The job's concepts; for the collage renderer each must be in ``vocabulary``, whose synonyms are filled in.

    Raises:
        ProblemError: 422, names or synonyms that the collage renderer cannot draw: names the first's field, near
            names for each, and what draws any concept.
    """
    if request.render.renderer != "collage":
        return request.concepts
    lexicon = Lexicon(vocabulary)
    faults = [fault for i, concept in enumerate(request.concepts) for fault in _faults(i, concept, lexicon)]
    if faults:
        raise _unknown(faults, lexicon)
    return tuple(_resolve(concept, lexicon) for concept in request.concepts)


def with_synonyms(concepts: Sequence[Concept], vocabulary: Sequence[Concept]) -> tuple[Concept, ...]:
    """The concepts with the synonyms that a job of them would get; for texts alone, so that none is refused."""
    lexicon = Lexicon(vocabulary)
    return tuple(_resolve(concept, lexicon) for concept in concepts)


def check_recipe(recipe: Recipe, lexicon: Lexicon, *, field: str) -> None:
    """For the collage renderer: every concept of a recipe must be one that it can draw.

    Raises:
        ProblemError: 422, names the first few that it cannot draw.
    """
    strange = [fault for source in recipe.sources for each in source.concepts for fault in _strange(each, lexicon)]
    if strange:
        raise _unknown([_Fault(field, fault.word, fault.of) for fault in strange], lexicon)


def _faults(place: int, concept: Concept, lexicon: Lexicon) -> Iterator[_Fault]:
    for fault in _strange(concept, lexicon):
        yield replace(fault, field=f"concepts.{place}.{fault.field}")


def _strange(concept: Concept, lexicon: Lexicon) -> Iterator[_Fault]:
    """Each word of a concept that cannot be drawn; fields are those of the concept."""
    known = lexicon.find(concept.name)
    if known is None:
        yield _Fault("name", concept.name)
        return
    for j, synonym in enumerate(concept.synonyms):
        # A caption that names the concept by this word alone would pass the gate and could not be drawn.
        if lexicon.find(synonym) != known:
            yield _Fault(f"synonyms.{j}", synonym, concept.name)


def _resolve(concept: Concept, lexicon: Lexicon) -> Concept:
    known = lexicon.find(concept.name)
    if known is None or concept.synonyms or concept.name.casefold() != known.name.casefold():
        return concept
    return concept.model_copy(update={"synonyms": known.synonyms})


def _unknown(faults: Sequence[_Fault], lexicon: Lexicon) -> ProblemError:
    told = [fault.told(lexicon) for fault in faults[:_TOLD]]
    more = f" and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
    cure = " Leave such synonyms out." if any(fault.of is not None for fault in faults[:_TOLD]) else ""
    detail = f"The collage renderer cannot draw {', '.join(told)}{more}.{cure}"
    return ProblemError(422, "unknown_concept", detail, field=faults[0].field, hint=_DIFFUSERS)
