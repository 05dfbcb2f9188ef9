"""The tables of bench_objectives' results, as docs/measurements.md has them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from objective_runs import CHOICES, LADDER, LEVELS

__all__ = ["tables"]

Result = dict[str, Any]
Read = Callable[[Result], dict[str, float]]
_BASE = "stablerep"

_HEAD = (
    "objective",
    "seeds",
    "crops a step: global, local",
    "images seen",
    "seconds a step",
    "CPU seconds a step",
    "k-NN",
    "linear probe",
    "linear, less StableRep's",
)


def tables(held: dict[str, Any]) -> str:
    """A part for each number of steps that results have: floors, table 4, table 5, the rest; each with its order."""
    job, results = held["job"], held["results"]
    told = [f"{job['groups']} captions of {job['concepts']} concepts, {job['images']} images\n"]
    for steps in sorted({result["steps"] for result in results}):
        told += _part([result for result in results if result["steps"] == steps], steps)
    return "\n".join(told)


def _part(results: list[Result], steps: int) -> Iterator[str]:
    begun = sorted(result["begun_at"][:10] for result in results)
    record = results[0]["after"]["knn"]
    images, captions = record["test_images"], record["test_captions"]
    split = f"{images} images of {captions} held-out captions, {record['classes']} concepts"
    yield f"{steps} steps, {begun[0]} to {begun[-1]}; {split}, k-NN with k {record['k']}\n"
    yield _floors(results)
    rest = tuple(name for name in CHOICES if name not in (*LADDER, *LEVELS))
    for title, names in (("Table 4", LADDER), ("Table 5", LEVELS), ("Others", rest)):
        there = [name for name in names if any(result["name"] == name for result in results)]
        if there:
            yield f"{title}:\n\n{_lines(_HEAD, (_row(name, results) for name in there))}"
            for kind in ("knn", "linear"):
                yield f"{kind}: {_order(there, results, kind)}\n"


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"| {' | '.join(head)} |\n|{' --- |' * len(head)}\n{body}"


def _floors(results: list[Result]) -> str:
    """What needs no learning; the same for every objective with the same seed, up to the backbone of some."""
    firsts = list({result["seed"]: result for result in reversed(results)}.values())
    readers: dict[str, Read] = {
        "untrained, k-NN": lambda result: result["before"]["knn"],
        "untrained, linear": lambda result: result["before"]["linear"],
        "raw pixels, k-NN": lambda result: result["after"]["knn"]["floors"]["raw_pixels"],
        "colour histogram, k-NN": lambda result: result["after"]["knn"]["floors"]["colour_histogram"],
    }
    return _lines(tuple(readers), [[_share([read(first) for first in firsts]) for read in readers.values()]])


def _row(name: str, results: list[Result]) -> list[str]:
    mine = [result for result in results if result["name"] == name]
    data, local = mine[0]["config"]["data"], mine[0]["config"]["local_crops"]["count"]
    images = data["captions_per_batch"] * data["views"]
    return [
        CHOICES[name].told,
        str(len(mine)),
        f"{images * data['crops']}, {images * local}",
        f"{images * mine[0]['steps']:,}",
        f"{_median(mine, 'seconds'):.2f}",
        f"{_median(mine, 'cpu_seconds'):.2f}",
        _share([result["after"]["knn"] for result in mine]),
        _share([result["after"]["linear"] for result in mine]),
        "" if name == _BASE else _paired(mine, results),
    ]


def _median(results: list[Result], name: str) -> float:
    return statistics.median(second for result in results for second in result[name])


def _error(values: Sequence[float]) -> str:
    return f" ± {100 * statistics.stdev(values) / math.sqrt(len(values)):.1f}" if len(values) > 1 else ""


def _share(records: Sequence[dict[str, float]]) -> str:
    values = [record["top1"] for record in records]
    captions = statistics.mean(record["standard_error"] for record in records)
    return f"{100 * statistics.mean(values):.1f} %{_error(values)} ({100 * captions:.1f})"


def _paired(mine: list[Result], results: list[Result]) -> str:
    """Seed by seed: weights, batches and held-out captions of a seed are the same for all."""
    base = {result["seed"]: result["after"]["linear"]["top1"] for result in results if result["name"] == _BASE}
    less = [r["after"]["linear"]["top1"] - base[r["seed"]] for r in mine if r["seed"] in base]
    return f"{100 * statistics.mean(less):+.1f}{_error(less)}" if less else ""


def _order(names: Sequence[str], results: list[Result], kind: str) -> str:
    means = {
        name: statistics.mean(result["after"][kind]["top1"] for result in results if result["name"] == name)
        for name in names
    }
    return " > ".join(sorted(means, key=lambda name: -means[name]))
