"""A plan of `synfarm plan` as people read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from synfarm.cli.meter import in_bytes
from synfarm.cli.tables import facts, table

if TYPE_CHECKING:
    from rich.table import Table

    from synfarm.planning.scale_plan import ScalePlan, Training
    from synfarm.planning.simulation.many import Interval, Simulated
    from synfarm.planning.spread import Spread

__all__ = ["limits_table", "scale_tables", "simulated_facts"]


def scale_tables(plan: ScalePlan) -> Iterator[tuple[str, Table]]:
    """Title and table of each part."""
    yield "Dataset", facts(_dataset(plan))
    yield "Making it", facts(_making(plan))
    for run in plan.training:
        yield f"Training {run.preset}", facts(_training(run))
    yield "All", facts(_all(plan))
    yield "Requests to the store, a second", _requests(plan)
    yield "Rates", _rates(plan)


def limits_table(plan: ScalePlan) -> Table:
    """The nearest limit first."""
    made = table("limit", "planned", "breaks at", "share", "then", right=("planned", "breaks at", "share"))
    for limit in plan.limits:
        made.add_row(limit.what, _amount(limit.planned, limit.unit), _amount(limit.bound, limit.unit),
                     f"{limit.share:.1%}", limit.then)  # fmt: skip
    return made


def simulated_facts(played: Simulated) -> Table:
    """Median and nine runs in ten."""
    share = played.lost_share
    rows = {
        "hours": _interval(played.hours),
        "hours of render workers": _interval(played.worker_hours),
        "their price": "-" if played.cost is None else _interval(played.cost),
        "workers lost": _interval(played.lost_workers),
        "their time, lost": f"{share.median:.2%} ({share.low:.2%} to {share.high:.2%})",
        "dead units": _interval(played.dead_units),
        "units simulated": f"{played.simulated_units:,} of {played.farm.units:,}",
    }
    return facts(rows)


def _dataset(plan: ScalePlan) -> dict[str, str]:
    size = plan.dataset
    return {
        "captions": f"{plan.asked.captions:,} in {size.units:,} units of {size.captions_per_unit}",
        "images": f"{size.images:,} of {in_bytes(round(size.image_bytes))}",
        "objects": f"{size.objects:,}",
        "shards": in_bytes(size.shard_bytes),
        "captions' objects": in_bytes(size.caption_bytes),
        "commits": in_bytes(size.commit_bytes),
        "manifest": f"{in_bytes(size.manifest_bytes)}, columns {in_bytes(size.columns_bytes)}, "
        f"end record {in_bytes(size.ended_bytes)}",
    }


def _making(plan: ScalePlan) -> dict[str, str]:
    making = plan.making
    return {
        "language model": f"{_spread(making.draws)} generations, {_spread(making.prompt_tokens)} tokens in, "
        f"{_spread(making.new_tokens)} out",
        "its GPUs": f"{making.llm_gpus}, {_spread(making.llm_gpu_hours)} hours of one",
        "render GPUs": f"{making.render_gpus}, {_spread(making.render_gpu_hours)} hours of one",
        "a unit": f"{_spread(making.unit_seconds)} s on one; {making.units_per_second:.2f} units/s of all",
        "lost": f"{making.lost_share:.2%} of the render GPUs' time",
        "takes": f"{_spread(making.hours)} hours",
        "pace": f"{making.images_per_second:,.0f} images/s, {in_bytes(round(making.upload_bytes_per_second))}/s up",
        "Redis": f"{making.units_in_flight:,} units in flight, {in_bytes(making.redis_bytes)}",
    }


def _training(run: Training) -> dict[str, str]:
    return {
        "images": f"{run.images:,}, {run.epochs:.1f} epochs",
        "GPUs": f"{run.gpus}, {_spread(run.gpu_hours)} hours of one",
        "takes": f"{_spread(run.hours)} hours",
        "pace": f"{run.images_per_second:,.0f} images/s, {in_bytes(round(run.read_bytes_per_second))}/s from the store",
        "start": f"{in_bytes(run.start_read_bytes)} read by all ranks, {run.start_cpu_seconds:.1f} s of a core and "
        f"{in_bytes(run.rank_memory_bytes)} of memory in each",
        "checkpoints": f"{in_bytes(run.checkpoint_bytes)} every {run.checkpoint_seconds:,.0f} s",
    }


def _all(plan: ScalePlan) -> dict[str, str]:
    rows = {"hours of GPUs": _spread(plan.gpu_hours)}
    if plan.cost is not None:
        rows["price"] = f"{_spread(plan.cost)} at {plan.asked.price_per_gpu_hour:g} an hour"
    return rows


def _requests(plan: ScalePlan) -> Table:
    made = table("process", "PUT", "GET", "HEAD", "LIST", right=("PUT", "GET", "HEAD", "LIST"))
    for row in plan.requests:
        made.add_row(row.process, *(f"{count:,.1f}" for count in (row.put, row.get, row.head, row.list)))
    return made


def _rates(plan: ScalePlan) -> Table:
    made = table("rate", "value", "source")
    for name, value in plan.rates.items():
        made.add_row(name.replace("_", " "), _spread(value), plan.sources[name])
    return made


def _spread(value: Spread) -> str:
    if value.low == value.high:
        return _number(value.likely)
    return f"{_number(value.likely)} ({_number(value.low)} to {_number(value.high)})"


def _interval(value: Interval) -> str:
    return f"{_number(value.median)} ({_number(value.low)} to {_number(value.high)})"


def _number(value: float) -> str:
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _amount(value: float, unit: str) -> str:
    if unit.startswith("bytes"):
        return in_bytes(round(value)) + unit.removeprefix("bytes")
    return f"{_number(value)} {unit}"
