"""Users' own concept sets in the store: one object each, written over when replaced, seen by its owner alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from pydantic import TypeAdapter, ValidationError

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.concept_sets import MOST_OWN_SETS, ConceptSetHead, ConceptSetRequest
from synfarm.contracts.origins import OwnSetName
from synfarm.contracts.pages import ConceptSetInfo
from synfarm.contracts.problems import ProblemError
from synfarm.storage.protocol import ObjectInfo, ObjectMissing, ObjectStore, StoreDamaged
from synfarm.telemetry import get_logger
from synfarm_caption_api.prompts.backgrounds import backgrounds_by_name
from synfarm_caption_api.prompts.library import Library
from synfarm_caption_api.prompts.shipped import ShippedLibrary

__all__ = ["ConceptSets"]

_log = get_logger(__name__)
_HEAD_BYTES = 2048
"""Holds the first line: a title of 120 characters, two names of 80, and a few short fields."""
_NAME: TypeAdapter[str] = TypeAdapter(OwnSetName)
_TOLD = 10


class ConceptSets:
    """What the API does with own sets; thread-safe. Each call costs a bounded number of requests to the store."""

    def __init__(self, store: ObjectStore, shipped: Library | None = None) -> None:
        """``shipped``: the sets whose names are taken, by default those that ship."""
        self._store, self._shipped = store, shipped or ShippedLibrary()

    def put(self, owner: str, name: str, request: ConceptSetRequest) -> ConceptSetInfo:
        """Store a set, over the one of that name if there is one; the last writer wins.

        Raises:
            ProblemError: 409, the name is one that ships, or the owner has as many sets as one may have; 422,
                backgrounds name a concept that the set does not have.
        """
        if (taken := self._taken(name)) is not None:
            raise _ships(taken, "choose another name for yours", f"PUT /v1/concept-sets/my-{taken}", field="name")
        if request.backgrounds is not None:
            backgrounds_by_name(request.backgrounds, (concept.name for concept in request.concepts), "set")
        names = self.names(owner)
        if name not in names and len(names) >= MOST_OWN_SETS:
            detail = f"You have {len(names)} concept sets, and one may have {MOST_OWN_SETS}."
            hint = "DELETE /v1/concept-sets/{name} of one that you need no more: jobs made of it stay as they are."
            raise ProblemError(409, "too_many_concept_sets", detail, field="name", hint=hint)
        body = request.to_bytes()
        head = ConceptSetHead(
            name=name,
            owner=owner,
            title=request.title,
            concepts=len(request.concepts),
            kinds=tuple(sorted({concept.kind for concept in request.concepts})),
            sha256=hashlib.sha256(body).hexdigest(),
            at=utc_now(),
        )
        key = layout.concept_set(owner, name)
        self._store.put(key, head.to_bytes() + b"\n" + body, content_type="application/x-ndjson")
        return _info(head)

    def get(self, owner: str, name: str) -> ConceptSetRequest | None:
        """A set as it was sent; None if the owner has none of that name.

        Raises:
            StoreDamaged: what is stored is not what was sent.
        """
        if not _may_be_a_name(name):
            return None
        key = layout.concept_set(owner, name)
        try:
            first, _, body = self._store.get(key).partition(b"\n")
        except ObjectMissing:
            return None
        try:
            head = ConceptSetHead.from_bytes(first)
            if hashlib.sha256(body).hexdigest() != head.sha256:
                raise StoreDamaged(f"{key}: its bytes are not those of its hash")
            return ConceptSetRequest.from_bytes(body)
        except ValidationError as error:
            raise StoreDamaged(f"{key}: holds no concept set: {error.errors()[0]['msg']}") from error

    def names(self, owner: str) -> tuple[str, ...]:
        """Of the sets of an owner, sorted."""
        return tuple(sorted(layout.parse_concept_set(info.key) for info in self._listed(owner)))

    def infos(self, owner: str) -> tuple[ConceptSetInfo, ...]:
        """What is known of each set of an owner, by name; reads the first line of each, and no more.

        A set whose name ships by now is left out: jobs that say the name mean the other one.
        """
        heads = [head for info in self._listed(owner) if (head := self._head(info)) is not None]
        seen = [head for head in heads if not self._shipped.has(head.name)]
        return tuple(_info(head) for head in sorted(seen, key=lambda head: head.name))

    def delete(self, owner: str, name: str) -> None:
        """Remove a set; jobs that were made of it have all that they need.

        Raises:
            ProblemError: 404, the owner has none of that name; 409, it is one that ships.
        """
        if _may_be_a_name(name) and self._store.head(layout.concept_set(owner, name)) is not None:
            self._store.delete(layout.concept_set(owner, name))
            return
        if (taken := self._taken(name)) is not None:
            raise _ships(taken, "nobody can delete it", "GET /v1/concept-sets?about=true marks yours as own.")
        raise self.missing(owner, name)

    def missing(self, owner: str, name: str) -> ProblemError:
        """404: neither a set that ships nor one of the owner's own has that name."""
        shipped, own = self._shipped.names(), self.names(owner)
        detail = f"There is no concept set {name[:80]!r}; there are: {_first(shipped, len(shipped))}"
        detail += f"; of your own: {_first(own, _TOLD)}." if own else "."
        return ProblemError(404, "concept_set_not_found", detail, hint="GET /v1/concept-sets lists them.")

    def _taken(self, name: str) -> str | None:
        """The set that ships, or is held out, under this name in whatever case."""
        known = (*self._shipped.names(), *self._shipped.held_out())
        return next((each for each in known if each.casefold() == name.casefold()), None)

    def _listed(self, owner: str) -> Iterator[ObjectInfo]:
        # Two writers of the last free place may both get it: a few more than one may have are listed as well.
        return self._store.list(layout.concept_sets_prefix(owner), limit=2 * MOST_OWN_SETS)

    def _head(self, info: ObjectInfo) -> ConceptSetHead | None:
        """None of a set that is gone since it was listed, or that this version cannot read."""
        try:
            try:
                data = self._store.get_range(info.key, 0, min(info.size, _HEAD_BYTES))
            except StoreDamaged:  # a shorter one has taken its place since it was listed
                data = self._store.get(info.key)
            return ConceptSetHead.from_bytes(data.partition(b"\n")[0])
        except ObjectMissing:
            return None
        except ValidationError as error:
            _log.warning("concept_set_unreadable", key=info.key, error=str(error))
            return None


def _may_be_a_name(name: str) -> bool:
    try:
        _NAME.validate_python(name)
    except ValidationError:
        return False
    return True


def _info(head: ConceptSetHead) -> ConceptSetInfo:
    return ConceptSetInfo(
        name=head.name,
        title=head.title,
        concepts=head.concepts,
        kinds=head.kinds,
        source=f"uploaded by {head.owner}",
        own=True,
        stored_at=head.at,
    )


def _ships(name: str, cure: str, hint: str, *, field: str | None = None) -> ProblemError:
    detail = f"Concept set {name!r} is one that every user of the farm has: {cure}."
    return ProblemError(409, "concept_set_ships", detail, field=field, hint=hint)


def _first(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")
