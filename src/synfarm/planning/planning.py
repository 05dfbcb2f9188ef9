"""From what is asked to what it takes: plain arithmetic on rates and on the footprint of the code."""

from __future__ import annotations

import math

from synfarm.planning.asked import PlanAsked
from synfarm.planning.cited import DRAWS_A_CAPTION, IMAGES, TFLOPS, TOKENS, Figure
from synfarm.planning.footprint import A_RUN, BYTES, REDIS_FAN, REDIS_UNIT, TOKENS_A_DRAW, TRAINERS
from synfarm.planning.limits import limits_of
from synfarm.planning.rates import OwnRates
from synfarm.planning.scale_plan import DatasetSize, Making, ScalePlan, Training
from synfarm.planning.shard_bytes import group_bytes, image_bytes
from synfarm.planning.spread import Spread
from synfarm.planning.store_requests import by_process, training_reads
from synfarm.planning.window import CAPTION_SLOTS, units_in_flight, units_wanted

__all__ = ["PlanRefused", "make_plan"]

_FAN = 4096
"""Units of a part of the manifest, and of a bitmap."""
_TRIES = 3
"""Faults after which a unit is dead."""
_HOPELESS = 50.0
_RESTART = 120.0
_RESTART_SOURCE = "120 s: our guess at a new machine and the loading of SD 1.5; measure it"
_CITED_SIDE, _CITED_PASSES = 512, 100.0


class PlanRefused(ValueError):
    """What is asked cannot be planned; the message names field and cure."""


def make_plan(asked: PlanAsked, own: OwnRates | None = None) -> ScalePlan:
    """The plan.

    Raises:
        PlanRefused: there is no figure for what is asked, or the workers would be lost faster than they work.
    """
    own = own or OwnRates()
    rates, sources = _rates(asked, own)
    size = _dataset(asked, own)
    making = _making(asked, size, rates, own)
    training = tuple(_training(asked, name, size, rates) for name in asked.train)
    requests = by_process(asked, size, making, training)
    hours = making.llm_gpu_hours.plus(making.render_gpu_hours)
    for run in training:
        hours = hours.plus(run.gpu_hours)
    price = asked.price_per_gpu_hour
    return ScalePlan(
        asked=asked,
        rates=rates,
        sources=sources,
        dataset=size,
        making=making,
        training=training,
        requests=requests,
        gpu_hours=hours,
        cost=None if price is None else hours.times(price),
        limits=limits_of(asked, size, making, training, requests),
        notes=_notes(asked, making),
    )


def _rates(asked: PlanAsked, own: OwnRates) -> tuple[dict[str, Spread], dict[str, str]]:
    """Rates and where they come from."""
    rates: dict[str, Spread] = {}
    sources: dict[str, str] = {}

    def take(name: str, given: Spread | None, cited: Figure) -> None:
        rates[name] = cited.value if given is None else given
        sources[name] = cited.source if given is None else own.source

    take("images_per_second", own.images_per_second, _images(asked, own))
    take("tokens_per_second", own.tokens_per_second, TOKENS[asked.gpu])
    take("draws_per_caption", own.draws_per_caption, DRAWS_A_CAPTION)
    restart = Figure(Spread.exactly(_RESTART), _RESTART_SOURCE)
    take("restart_seconds", None if own.restart_seconds is None else Spread.exactly(own.restart_seconds), restart)
    if own.train_images_per_second is not None and len(asked.train) > 1:
        raise PlanRefused("rates: train_images_per_second is of one preset; plan the presets one by one")
    for name in asked.train:
        flops, work = TFLOPS[asked.gpu], TRAINERS[name].gflops
        cited = Figure(
            flops.value.times(1000 / work), f"{work:,.0f} GFLOP an image (synfarm_trainer.flops); {flops.source}"
        )
        take(f"train_images_per_second {name}", own.train_images_per_second, cited)
    return rates, sources


def _images(asked: PlanAsked, own: OwnRates) -> Figure:
    render = asked.render
    if own.images_per_second is not None:
        return IMAGES[asked.gpu]
    if render.family != "sd15":
        raise PlanRefused(f"render.family: there is no figure for {render.family!r}; give images_per_second by --rates")
    side = render.render_size or render.size
    factor = (_CITED_PASSES / render.network_passes) * (_CITED_SIDE / side) ** 2
    cited = IMAGES[asked.gpu]
    if factor == 1:
        return cited
    how = f"x {factor:.3g} for {render.network_passes:g} passes of the network (not 100) at {side} px (not 512); "
    return Figure(cited.value.times(factor), how + cited.source)


def _dataset(asked: PlanAsked, own: OwnRates) -> DatasetSize:
    units, images = asked.units, asked.captions * asked.images_per_caption
    parts = -(-units // _FAN)
    each = image_bytes(asked.render) if own.image_bytes is None else own.image_bytes
    extra = group_bytes(asked.render, asked.images_per_caption) - asked.images_per_caption * image_bytes(asked.render)
    group = asked.images_per_caption * each + extra
    return DatasetSize(
        units=units,
        captions_per_unit=asked.unit,
        images=images,
        objects=3 * units + 2 * parts + 4,
        image_bytes=each,
        shard_bytes=round(asked.captions * group),
        caption_bytes=round(asked.captions * BYTES.captions),
        commit_bytes=round(units * BYTES.commit + asked.captions * BYTES.group),
        manifest_bytes=round(units * BYTES.line),
        columns_bytes=round(units * BYTES.columns_unit + asked.captions * BYTES.columns_group + parts * BYTES.names),
        ended_bytes=round(parts * BYTES.part),
    )


def _making(asked: PlanAsked, size: DatasetSize, rates: dict[str, Spread], own: OwnRates) -> Making:
    draws = rates["draws_per_caption"].times(asked.captions)
    prompt, new = own.prompt_tokens or TOKENS_A_DRAW.prompt, own.new_tokens or TOKENS_A_DRAW.new
    speed, tokens = rates["images_per_second"], rates["tokens_per_second"]
    unit_images = size.captions_per_unit * asked.images_per_caption
    unit_seconds = speed.under(unit_images)
    kept = _kept_share(asked, unit_seconds.likely, rates["restart_seconds"].likely)
    render_hours = speed.under(size.images).times(1 / 3600 / kept)
    seconds = Spread(
        low=draws.low * new / tokens.high, likely=draws.likely * new / tokens.likely, high=draws.high * new / tokens.low
    )
    llm_hours = seconds.times(1 / 3600)
    images_per_second = asked.render_gpus * speed.likely * kept
    # So many that captions at their slowest keep up with the render workers at their fastest: they are cheap.
    enough = llm_hours.high / (render_hours.low / asked.render_gpus)
    llm_gpus = asked.llm_gpus or max(1, -int(-enough // 1))
    flight = units_in_flight(asked.render_gpus, llm_gpus)
    fans = -(-flight // _FAN) + 1
    caption_seconds = CAPTION_SLOTS * draws.likely * new / tokens.likely / size.units
    wanted = units_wanted(asked.render_gpus, unit_seconds.likely, caption_seconds)
    held = max(1.0, wanted / flight)
    hours = render_hours.times(held / asked.render_gpus).at_least(llm_hours.times(1 / llm_gpus))
    slowed = min(1.0, render_hours.likely / asked.render_gpus / hours.likely)
    # Workers that wait are paid too, for the window and for captions alike.
    render_hours = render_hours.times(held).at_least(llm_hours.times(asked.render_gpus / llm_gpus))
    return Making(
        draws=draws,
        prompt_tokens=draws.times(prompt),
        new_tokens=draws.times(new),
        llm_gpu_hours=llm_hours,
        llm_gpus=llm_gpus,
        render_gpu_hours=render_hours,
        render_gpus=asked.render_gpus,
        unit_seconds=unit_seconds,
        units_per_second=images_per_second * slowed / unit_images,
        lost_share=1 - kept,
        hours=hours,
        images_per_second=images_per_second * slowed,
        upload_bytes_per_second=images_per_second * slowed * size.shard_bytes / size.images,
        captions_per_unit=size.captions_per_unit,
        caption_seconds=caption_seconds,
        units_in_flight=flight,
        units_wanted=wanted,
        redis_bytes=flight * REDIS_UNIT + fans * REDIS_FAN,
    )


def _kept_share(asked: PlanAsked, unit_seconds: float, restart_seconds: float) -> float:
    """Of a render worker's hours what becomes images.

    A worker that is there is lost at a constant rate r, its unit is begun again, and its successor takes its time to
    start: so a unit of u seconds takes (exp(r u) - 1) / r of workers that are there (about half a unit for each loss).
    A fault comes at the end of a unit, and the unit is tried three times.
    """
    rate = asked.preemptions_per_gpu_hour / 3600
    exposed = rate * unit_seconds
    kept = exposed / math.expm1(exposed) if 0 < exposed < _HOPELESS else float(not exposed)
    kept /= 1 + rate * restart_seconds
    if kept < 0.01:
        raise PlanRefused(
            f"preemptions_per_gpu_hour: {asked.preemptions_per_gpu_hour:g} with units of {unit_seconds:.0f} s and "
            f"{restart_seconds:.0f} s to start leave no time to work; take smaller units or other machines"
        )
    fault = asked.unit_fault_rate
    return kept / sum(fault**n for n in range(_TRIES))


def _training(asked: PlanAsked, name: str, size: DatasetSize, rates: dict[str, Spread]) -> Training:
    net, speed = TRAINERS[name], rates[f"train_images_per_second {name}"]
    images, gpus = net.steps * net.captions * net.views, asked.train_gpus
    hours = speed.under(images).times(1 / 3600)
    pace = speed.likely * gpus
    read = pace / net.views * training_reads(asked, size).bytes
    names = -(-size.units // _FAN) * BYTES.names
    start = asked.captions * BYTES.read_group + size.units * BYTES.read_unit + names + size.ended_bytes
    return Training(
        preset=name,
        images=images,
        epochs=net.steps * net.captions / asked.captions,
        gpu_hours=hours,
        gpus=gpus,
        hours=hours.times(1 / gpus),
        images_per_second=pace,
        read_bytes_per_second=read,
        start_read_bytes=round(start * gpus),
        start_cpu_seconds=asked.captions * A_RUN.load_cpu,
        rank_memory_bytes=round(asked.captions * A_RUN.group_memory),
        checkpoint_bytes=net.checkpoint,
        checkpoint_seconds=net.every * net.captions * net.views / pace,
    )


def _notes(asked: PlanAsked, making: Making) -> tuple[str, ...]:
    notes = ["hours of GPUs alone are priced: storage, requests, traffic and the other machines come on top"]
    captioning = making.llm_gpu_hours.likely / making.llm_gpus
    if asked.llm_gpus is not None and captioning * 1.001 > making.hours.likely:
        notes.append("llm_gpus: the captions come too slowly, render workers wait for them, and are paid")
    if making.units_wanted > making.units_in_flight:
        notes.append("render_gpus: the feeder's window is too small for so many; they wait, and are paid")
    if asked.preemptions_per_gpu_hour or asked.unit_fault_rate:
        notes.append("what is lost is a mean here; --simulate tells how far a job may stray from it")
    return tuple(notes)
