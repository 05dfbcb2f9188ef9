"""What a renderer can draw, checked when a job is submitted and not when its first unit fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    told: str


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
        raise _unknown([_Fault(field, word, told) for _, word, told in strange], lexicon)


def _faults(place: int, concept: Concept, lexicon: Lexicon) -> Iterator[_Fault]:
    for where, word, told in _strange(concept, lexicon):
        yield _Fault(f"concepts.{place}.{where}", word, told)


def _strange(concept: Concept, lexicon: Lexicon) -> Iterator[tuple[str, str, str]]:
    """(Field of the concept, word, how it is told) of each word of a concept that cannot be drawn."""
    known = lexicon.find(concept.name)
    if known is None:
        yield "name", concept.name, repr(concept.name)
        return
    for j, synonym in enumerate(concept.synonyms):
        # A caption that names the concept by this word alone would pass the gate and could not be drawn.
        if lexicon.find(synonym) != known:
            yield f"synonyms.{j}", synonym, f"{synonym!r} as {concept.name!r}"


def _resolve(concept: Concept, lexicon: Lexicon) -> Concept:
    known = lexicon.find(concept.name)
    if known is None or concept.synonyms or concept.name.casefold() != known.name.casefold():
        return concept
    return concept.model_copy(update={"synonyms": known.synonyms})


def _unknown(faults: Sequence[_Fault], lexicon: Lexicon) -> ProblemError:
    told = [f"{fault.told}{_near(fault.word, lexicon)}" for fault in faults[:_TOLD]]
    more = f" and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
    detail = f"The collage renderer cannot draw {', '.join(told)}{more}."
    return ProblemError(422, "unknown_concept", detail, field=faults[0].field, hint=_DIFFUSERS)


def _near(word: str, lexicon: Lexicon) -> str:
    close = lexicon.near(word)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
