"""Own concept sets over a real S3 server: written over, listed by their first lines, gone when deleted."""

from __future__ import annotations

import pytest

from synfarm.contracts.concept_sets import ConceptSetRequest
from synfarm.storage.protocol import ObjectStore
from synfarm_caption_api.concept_sets import ConceptSets

pytestmark = pytest.mark.integration


def request(*names: str, title: str = "") -> ConceptSetRequest:
    return ConceptSetRequest.model_validate({"concepts": list(names), "title": title})


def test_sets_on_a_real_store(store: ObjectStore) -> None:
    sets = ConceptSets(store)
    assert (sets.names("ada"), sets.infos("ada"), sets.get("ada", "birds")) == ((), (), None)
    many = request(*(f"bird {n}" for n in range(10_000)), title="Vögel")
    sets.put("ada", "birds", many)
    sets.put("ada", "a.b", request("dog"))
    sets.put("bob", "birds", request("owl"))
    assert sets.get("ada", "birds") == many
    assert [(info.name, info.concepts, info.title) for info in sets.infos("ada")] == [
        ("a.b", 1, ""),
        ("birds", 10_000, "Vögel"),
    ]
    sets.put("ada", "birds", request("robin", "wren"))
    assert sets.get("ada", "birds") == request("robin", "wren")
    sets.delete("ada", "birds")
    assert (sets.names("ada"), sets.get("ada", "birds")) == (("a.b",), None)
    assert sets.get("bob", "birds") == request("owl")
