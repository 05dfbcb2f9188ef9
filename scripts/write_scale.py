"""Write the tables of docs/scale.md anew, each from the `synfarm plan` that stands above it; a test compares them.

A table stands between ``<!-- plan KIND: OPTIONS -->`` and ``<!-- end -->``. Several sets of options, with `` | ``
between them, are columns of one table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from synfarm.cli.app import app

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
_BLOCK = re.compile(r"<!-- plan (\w+): ([^\n]*) -->\n.*?<!-- end -->", re.DOTALL)
Plan = Mapping[str, Any]
_LIMITS = 5
"""Nearest limits that are shown."""


def written(page: str, *, simulated: bool = True) -> str:
    """The page with its tables as they are now; ``simulated``: those of runs in fast motion too."""

    def table(block: re.Match[str]) -> str:
        kind, options = block.group(1), block.group(2)
        if kind == "simulated" and not simulated:
            return block.group(0)
        plans = [_plan(one) for one in options.split(" | ")]
        lines = "\n".join(_KINDS[kind](plans))
        return f"<!-- plan {kind}: {options} -->\n{lines}\n<!-- end -->"

    return _BLOCK.sub(table, page)


def _plan(options: str) -> Plan:
    result = CliRunner().invoke(app, ["plan", *options.split(), "--json"], catch_exceptions=False)
    if result.exit_code:
        raise RuntimeError(f"synfarm plan {options}: {result.output}")
    made: Plan = json.loads(result.stdout)
    return made


def _table(heads: list[str], rows: Mapping[str, list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "| " + " | ".join(["---"] + ["---:"] * (len(heads) - 1)) + " |"
    for name, values in rows.items():
        yield f"| {name} | {' | '.join(values)} |"


def _dataset(plans: list[Plan]) -> Iterator[str]:
    size = plans[0]["plan"]["dataset"]
    rows = {
        "units": f"{size['units']:,} of {size['captions_per_unit']} captions",
        "images": f"{size['images']:,} of {_bytes(size['image_bytes'])}",
        "objects": f"{size['objects']:,}",
        "shards (tars)": f"{size['units']:,}, {_bytes(size['shard_bytes'])}",
        "captions (JSONL)": _bytes(size["caption_bytes"]),
        "commits": _bytes(size["commit_bytes"]),
        "manifest, a line a unit": _bytes(size["manifest_bytes"]),
        "columns, a row a caption": _bytes(size["columns_bytes"]),
        "end record": _bytes(size["ended_bytes"]),
    }
    return _table(["in the store", ""], {name: [value] for name, value in rows.items()})


def _making(plans: list[Plan]) -> Iterator[str]:
    made = [plan["plan"]["making"] for plan in plans]
    rows = {
        "days": [_spread(one["hours"], 1 / 24) for one in made],
        "render GPU-hours": [_spread(one["render_gpu_hours"]) for one in made],
        "language model's GPU-hours": [_spread(one["llm_gpu_hours"]) for one in made],
        "its GPUs": [str(one["llm_gpus"]) for one in made],
        "tokens in, out": [f"{_n(one['prompt_tokens']['likely'])}, {_n(one['new_tokens']['likely'])}" for one in made],
        "a unit on one GPU, s": [_spread(one["unit_seconds"]) for one in made],
        "units/s": [_n(one["units_per_second"]) for one in made],
        "images/s": [_n(one["images_per_second"]) for one in made],
        "up, bytes/s": [_bytes(one["upload_bytes_per_second"]) for one in made],
        "units in flight": [f"{one['units_in_flight']:,}" for one in made],
        "Redis": [_bytes(one["redis_bytes"]) for one in made],
    }
    if all(plan["plan"]["cost"] for plan in plans):
        rows["price"] = [_spread(plan["plan"]["cost"]) for plan in plans]
    return _table(["making it", *(f"{one['render_gpus']:,} render GPUs" for one in made)], rows)


def _training(plans: list[Plan]) -> Iterator[str]:
    runs = [run for plan in plans for run in plan["plan"]["training"]]
    reads = [row["get"] for plan in plans for row in plan["plan"]["requests"] if row["process"].startswith("trainer")]
    rows = {
        "GPU-hours": [_spread(run["gpu_hours"]) for run in runs],
        "days": [_spread(run["hours"], 1 / 24) for run in runs],
        "images seen": [f"{_n(run['images'])}, {run['epochs']:.1f} epochs" for run in runs],
        "images/s": [_n(run["images_per_second"]) for run in runs],
        "GET/s": [_n(read) for read in reads],
        "from the store, bytes/s": [_bytes(run["read_bytes_per_second"]) for run in runs],
        "read at a start, by all ranks": [_bytes(run["start_read_bytes"]) for run in runs],
        "memory of the plan, a rank": [_bytes(run["rank_memory_bytes"]) for run in runs],
        "checkpoint": [f"{_bytes(run['checkpoint_bytes'])} every {_n(run['checkpoint_seconds'])} s" for run in runs],
    }
    return _table(["training", *(f"`{run['preset']}`, {run['gpus']:,} GPUs" for run in runs)], rows)


def _requests(plans: list[Plan]) -> Iterator[str]:
    rows = plans[0]["plan"]["requests"]
    told = {row["process"]: [_n(row[verb]) for verb in ("put", "get", "head", "list")] for row in rows}
    return _table(["requests a second", "PUT", "GET", "HEAD", "LIST"], told)


def _limits(plans: list[Plan]) -> Iterator[str]:
    yield "| at | limit | planned | breaks at | share |"
    yield "| --- | --- | ---: | ---: | ---: |"
    for plan in plans:
        asked = plan["plan"]["asked"]
        at = f"{asked['render_gpus']:,} render GPUs" if not asked["train"] else f"{asked['train_gpus']:,} training GPUs"
        for limit in plan["plan"]["limits"][:_LIMITS]:
            planned, bound = (_amount(limit[name], limit["unit"]) for name in ("planned", "bound"))
            yield f"| {at} | {limit['what']} | {planned} | {bound} | {limit['share']:.1%} |"
            at = ""


def _simulated(plans: list[Plan]) -> Iterator[str]:
    runs = [plan["simulated"] for plan in plans]
    rows = {
        "days": [_interval(run["hours"], 1 / 24) for run in runs],
        "price of the render GPUs": [_interval(run["cost"]) for run in runs],
        "workers lost": [_interval(run["lost_workers"]) for run in runs],
        "their time lost on units begun again": [f"{run['lost_share']['median']:.2%}" for run in runs],
    }
    return _table(
        ["in fast motion", *(f"{run['farm']['preemptions_per_hour']:g} losses a GPU-hour" for run in runs)], rows
    )


def _sources(plans: list[Plan]) -> Iterator[str]:
    yield "| rate, of one GPU | likely (low to high) | source |"
    yield "| --- | ---: | --- |"
    plan = plans[0]["plan"]
    for name, value in plan["rates"].items():
        yield f"| {name.replace('_', ' ')} | {_spread(value)} | {plan['sources'][name]} |"


_KINDS: Mapping[str, Callable[[list[Plan]], Iterator[str]]] = {
    "dataset": _dataset,
    "making": _making,
    "training": _training,
    "requests": _requests,
    "limits": _limits,
    "simulated": _simulated,
    "sources": _sources,
}


def _spread(value: Mapping[str, float], factor: float = 1.0) -> str:
    low, likely, high = (_n(value[name] * factor) for name in ("low", "likely", "high"))
    return likely if low == high else f"{likely} ({low} to {high})"


def _interval(value: Mapping[str, float], factor: float = 1.0) -> str:
    low, median, high = (_n(value[name] * factor) for name in ("low", "median", "high"))
    return f"{median} ({low} to {high})"


def _n(value: float) -> str:
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _bytes(value: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.0f} bytes"


def _amount(value: float, unit: str) -> str:
    return _bytes(value) + unit.removeprefix("bytes") if unit.startswith("bytes") else f"{_n(value)} {unit}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
