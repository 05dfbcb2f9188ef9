"""What a job would be, as people read it: what is drawn, what it costs, whether the farm can do it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from synfarm.cli.counting import counted
from synfarm.cli.meter import in_bytes
from synfarm.cli.tables import facts, span

if TYPE_CHECKING:
    from rich.table import Table

    from synfarm.contracts.views import JobPlan, Range

__all__ = ["plan_facts"]


def plan_facts(plan: JobPlan) -> Table:
    """Names on the left, values on the right."""
    spec = plan.spec
    render = spec.render
    drawn = " ".join(filter(None, (render.renderer, render.model, render.revision)))
    rows: dict[str, str | Text] = {
        "concepts": f"{spec.origin} (draw: {spec.concept_draw})",
        "captions": f"{spec.captions} in {counted(plan.units, 'unit')} of up to {spec.captions_per_unit}",
        "images": f"{plan.images}: {spec.images_per_caption} a caption, {render.size} px, by {drawn}",
        "size": f"about {in_bytes(plan.estimated_bytes)}",
    }
    if plan.gpu_hours is not None:
        rows["work"] = f"{_hours(plan.gpu_hours)} of render workers ({plan.rates}: {plan.rates_from})"
    if plan.cost is not None:
        rows["cost"] = f"{_range(plan.cost)} at {plan.price_per_gpu_hour:g} an hour"
    if plan.eta_seconds is not None:
        between = f"{span(plan.eta_seconds.low)} to {span(plan.eta_seconds.high)}"
        guessed = plan.rates == "guess" and plan.spec.captions_from is None
        of = "of drawing alone (a guess; captions come on top)" if guessed else "on the workers that live now"
        rows["time"] = f"{between} {of}"
    if plan.queue_position > 1:
        rows["queue"] = f"place {plan.queue_position}; {plan.images_ahead} images are wanted before"
    rows["seed"] = str(spec.seed)
    rows["lane"] = spec.lane.value
    if not plan.feasible:
        rows["not now"] = Text("; ".join(plan.why_not), style="yellow")
    return facts({**rows, **{f"prompt {number}": prompt for number, prompt in enumerate(plan.prompts, 1)}})


def _hours(of: Range) -> str:
    if of.high < 1:
        return f"{span(3600 * of.low)} to {span(3600 * of.high)}"
    return f"{_range(of)} hours"


def _range(of: Range) -> str:
    return f"{of.low:.2g} to {of.high:.2g}" if of.high < 100 else f"{of.low:.0f} to {of.high:.0f}"
