"""A small library of sets under the names of the large ones, with backgrounds, and pools for all templates."""

from __future__ import annotations

import pytest

from synfarm.contracts.concepts import Concept, ConceptKind
from synfarm.contracts.recipes import PoolExample
from synfarm_caption_api.prompts.library import FakeLibrary, Settings
from synfarm_caption_api.prompts.pools import RELATIONS, Pools, load_pools


def concepts(prefix: str, count: int, kind: ConceptKind = ConceptKind.OBJECT) -> tuple[Concept, ...]:
    return tuple(Concept(name=f"{prefix} {number}", kind=kind) for number in range(count))


@pytest.fixture(scope="session")
def library() -> FakeLibrary:
    sets = {
        "in1k": concepts("thing", 50),
        "in21k": (*concepts("item", 80), *concepts("spot", 10, ConceptKind.PLACE)),
        "aircraft": concepts("plane", 10),
        "cars": concepts("wagon", 20),
        "food101": concepts("dish", 10),
        "flowers": concepts("bloom", 12),
        "pets": concepts("cat", 7),
        "caltech101": (*concepts("tool", 5), Concept(name="cat 0")),
        "places365": (*concepts("hall", 30, ConceptKind.PLACE), Concept(name="bar indoor", kind=ConceptKind.PLACE)),
        "sun397": (*concepts("lake", 9, ConceptKind.PLACE), Concept(name="bar outdoor", kind=ConceptKind.PLACE)),
        "dtd": concepts("knit", 6, ConceptKind.TEXTURE),
    }
    shared = Settings((("a wide road ", "a Car park"),), (0,) * 20)
    return FakeLibrary(
        sets,
        backgrounds={
            "in1k": Settings(
                tuple((f" Setting {n}", f"Valley {n}") for n in range(5)), tuple(n % 5 for n in range(50))
            ),
            "cars": shared,
            "in21k": Settings((("Old Town",),), tuple(0 if n < 60 else -1 for n in range(90))),
        },
        above={"in1k": tuple((f"kind {n % 7}", "entity") for n in range(50))},
        unseen=("eurosat",),
    )


@pytest.fixture(scope="session")
def pools() -> Pools:
    """Those that ship, with rows of our own where a pool is still too small to draw from."""
    shipped = load_pools()
    rows = list(shipped.rows)
    if len(shipped.of("background")) < 4:
        rows += [
            PoolExample(id=f"bg-{n}", pool="background", concept=f"pot {n}", second="a shed", caption=f"a pot, {n}")
            for n in range(50)
        ]
    if len(shipped.of("relation")) < 4:
        rows += [
            PoolExample(
                id=f"rel-{n}", pool="relation", concept=f"pot {n}", second=RELATIONS[n // 2], caption=f"pots {n}"
            )
            for n in range(20)
        ]
    return Pools.of_rows(rows)
