"""How many prompts a second one core draws and builds, by kind of job; beside it the plan alone, without the prompt.

Run: ``python benchmarks/bench_prompts.py``. The aim is 20,000 prompts a second and core.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from synfarm.contracts.base import utc_now
from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.contracts.recipes import PoolExample
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.library import FakeLibrary, Settings
from synfarm_caption_api.prompts.planner import Planner
from synfarm_caption_api.prompts.pools import RELATIONS, Pools, load_pools
from synfarm_caption_api.prompts.recipe_making import RecipeMaker

SIZES = {
    "in1k": 1000,
    "in21k": 13_000,
    "aircraft": 100,
    "cars": 196,
    "food101": 101,
    "flowers": 102,
    "pets": 37,
    "caltech101": 102,
    "places365": 365,
    "sun397": 397,
    "dtd": 47,
}


def full_size() -> tuple[FakeLibrary, Pools]:
    """Sets of the sizes of the paper, 100 backgrounds a concept of IN-1k; every pool full."""
    sets = {name: tuple(Concept(name=f"{name} thing {n}") for n in range(size)) for name, size in SIZES.items()}
    groups = {
        name: Settings(
            tuple(tuple(f"spot {n} {k}" for k in range(100)) for n in range(50)), tuple(n % 50 for n in range(size))
        )
        for name, size in SIZES.items()
    }
    rows = list(load_pools().rows)
    text = "a weathered thing beside another one in the warm light of a late afternoon"
    for pool, count in (("background", 50), ("relation", 20)):
        rows += [
            PoolExample.model_validate(
                {"id": f"{pool}-{n}", "pool": pool, "concept": f"pot {n}", "second": RELATIONS[n % 10], "caption": text}
            )
            for n in range(count)
        ]
    return FakeLibrary(sets, backgrounds=groups), Pools.of_rows(rows)


def per_second(work: Callable[[int], object], count: int) -> float:
    """Calls a second of CPU time, the best of three rounds."""
    best = 0.0
    for turn in range(3):
        begin = time.process_time()
        for index in range(turn * count, (turn + 1) * count):
            work(index)
        best = max(best, count / (time.process_time() - begin))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=50_000, help="prompts a round")
    count = parser.parse_args().prompts
    library, pools = full_size()
    maker = RecipeMaker(library, pools)
    sys.stdout.write(f"{'job':<28}{'prompts/s':>12}{'plans/s':>12}{'make recipe':>14}{'recipe':>10}\n")
    plain: dict[str, Any] = {"captions": 10**9, "captions_per_unit": 64, "job": "01k" + "0" * 23, "owner": "bench"}
    for wish in ({"concepts": ["dog", "cat", "heron"]}, {"concept_set": "in1k"}, {"mix": "paper"}, {"mix": "release"}):
        recipe, seconds, size = None, 0.0, 0
        spec = JobSpec.model_validate({**plain, "created_at": utc_now(), "concepts": wish.get("concepts", ["x"])})
        if "concepts" not in wish:
            begin = time.process_time()
            made = maker.make(JobRequest.model_validate({**wish, "captions": 1}))
            seconds, size, recipe = time.process_time() - begin, len(made.data), made.recipe
            spec = JobSpec.model_validate({**plain, "created_at": utc_now(), "recipe": made.ref})
        prompts = per_second(Drawer(spec, pools, recipe).draw, count)
        plans = per_second(Planner(spec, recipe).at, count)
        told = f"{next(iter(wish))} {next(iter(wish.values()))}"[:27]
        row = f"{told:<28}{prompts:>12,.0f}{plans:>12,.0f}{1000 * seconds:>11.0f} ms{size / 1000:>7.0f} kB"
        sys.stdout.write(row + "\n")


if __name__ == "__main__":
    main()
