"""Routes of concept sets: those that ship and the caller's own, which jobs and mixes take by name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from synfarm.concepts import UnknownConceptSet, about, load, set_names
from synfarm.contracts.concept_sets import ConceptSetRequest
from synfarm.contracts.origins import OwnSetName
from synfarm.contracts.pages import ConceptSet, ConceptSetInfo, ConceptSetList
from synfarm.contracts.problems import Problem
from synfarm.web import CurrentPrincipal
from synfarm_caption_api.api.services import Services
from synfarm_caption_api.concept_sets import ConceptSets

__all__ = ["router"]

router = APIRouter(prefix="/v1/concept-sets", tags=["concept sets"])

NamePath = Annotated[OwnSetName, Path(description="Your name for the set: letters, digits, dot, dash, underscore.")]


@router.get("", summary="List the concept sets")
def concept_sets(
    who: CurrentPrincipal,
    services: Services,
    tell: Annotated[bool, Query(alias="about", description="Tell of each set how large it is, and whence.")] = False,
) -> list[str] | ConceptSetList:
    """Names of the sets that ship, then of your own; with ``about`` what is known of each, and which are your own."""
    shipped, sets = set_names(), ConceptSets(services.store)
    if not tell:
        return [*shipped, *(name for name in sets.names(who.owner) if name not in shipped)]
    return ConceptSetList(items=(*map(_shipped_info, shipped), *sets.infos(who.owner)))


@router.get("/{name}", summary="See the concepts of a set")
def concept_set(name: str, who: CurrentPrincipal, services: Services) -> ConceptSet:
    """One set, shipped or your own; ``collage`` is what the collage renderer can draw."""
    try:
        return ConceptSet(name=name, concepts=load(name))
    except UnknownConceptSet:
        sets = ConceptSets(services.store)
    own = sets.get(who.owner, name)
    if own is None:
        raise sets.missing(who.owner, name)
    return ConceptSet(name=name, concepts=own.concepts, own=True, title=own.title, backgrounds=own.backgrounds)


@router.put("/{name}", summary="Store a concept set of your own", responses={409: {"model": Problem}})
def put_concept_set(
    name: NamePath, body: ConceptSetRequest, who: CurrentPrincipal, services: Services
) -> ConceptSetInfo:
    """Jobs then take it by name, as ``concept_set`` or in the shares of ``mix``.

    A set of that name is replaced as a whole. Jobs freeze what they draw from, so those made before stay as they are.
    """
    return ConceptSets(services.store).put(who.owner, name, body)


@router.delete(
    "/{name}", status_code=204, summary="Delete a concept set of your own", responses={409: {"model": Problem}}
)
def delete_concept_set(name: str, who: CurrentPrincipal, services: Services) -> None:
    """Jobs that were made of it keep all that they need."""
    ConceptSets(services.store).delete(who.owner, name)


def _shipped_info(name: str) -> ConceptSetInfo:
    info = about(name)
    return ConceptSetInfo(
        name=info.name,
        title=info.title,
        concepts=info.concepts,
        kinds=info.kinds,
        source=info.source,
        note=info.note,
    )
