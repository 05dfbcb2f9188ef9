"""The farm of a plan, to be run in fast motion: at the likely rates, so that what is left is luck."""

from __future__ import annotations

from synfarm.planning.scale_plan import ScalePlan
from synfarm.planning.simulation.farm import SimulatedFarm
from synfarm.planning.window import CAPTION_SLOTS, FINISH_SECONDS, PASS_SECONDS

__all__ = ["farm_of_plan"]

_LEASE_SECONDS = 30.0
_SPREAD = 0.05
"""Units of one job differ by the captions that were kept: our assumption."""


def farm_of_plan(plan: ScalePlan) -> SimulatedFarm:
    """
    Raises:
        pydantic.ValidationError: the job is larger than what can be run.
    """
    making = plan.making
    slots = CAPTION_SLOTS * making.llm_gpus
    return SimulatedFarm(
        units=plan.dataset.units,
        render_workers=making.render_gpus,
        caption_slots=slots,
        caption_seconds=making.caption_seconds,
        render_seconds=making.unit_seconds.likely,
        render_spread=_SPREAD,
        finish_seconds=FINISH_SECONDS,
        window=making.units_in_flight,
        pass_seconds=PASS_SECONDS,
        lease_seconds=_LEASE_SECONDS,
        preemptions_per_hour=plan.asked.preemptions_per_gpu_hour,
        restart_seconds=plan.rates["restart_seconds"].likely,
        fault_rate=plan.asked.unit_fault_rate,
    )
