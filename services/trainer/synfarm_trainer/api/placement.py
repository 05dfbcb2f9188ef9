"""Where a run may be computed: the sets of devices of this service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synfarm.contracts.problems import ProblemError
from synfarm.contracts.runs import RunSpec
from synfarm_trainer.launch.devices import DeviceSet, suitable

__all__ = ["Placement", "check_place"]


@dataclass(frozen=True, slots=True)
class Placement:
    sets: tuple[DeviceSet, ...]
    max_ranks: int
    """On a machine where no number of GPUs says it."""

    def of(self, spec: RunSpec) -> tuple[DeviceSet, ...]:
        """The sets that a run may be given; none if the service was started with others meanwhile."""
        return self.for_ranks(spec.ranks, spec.config)

    def for_ranks(self, ranks: int, config: Mapping[str, Any]) -> tuple[DeviceSet, ...]:
        return suitable(self.sets, ranks, _device(config), self.max_ranks)

    def most_ranks(self, config: Mapping[str, Any]) -> int:
        """The most ranks that a run of this configuration may have here; 0 if no set has its device."""
        device = _device(config)
        counts = {self.max_ranks, *(len(devices.gpus) for devices in self.sets)}
        return max((n for n in counts if n and suitable(self.sets, n, device, self.max_ranks)), default=0)

    @property
    def names(self) -> str:
        """As the setting has them."""
        return ";".join(devices.name for devices in self.sets)

    def refusal(self, spec: RunSpec) -> str:
        """Why a run has no place."""
        words = f"no set of SYNFARM_TRAINER_DEVICES ({self.names}) has {spec.ranks} ranks of {_device(spec.config)}"
        return f"{words}; give it one, or stop the run"


def check_place(placement: Placement, ranks: int, config: Mapping[str, Any]) -> None:
    """
    Raises:
        ProblemError: 422 no set of devices is large enough for the ranks, or of the kind that the run asks for.
    """
    if placement.for_ranks(ranks, config):
        return
    most = placement.most_ranks(config)
    if not most:
        raise ProblemError(
            422,
            "no_such_device",
            f"This trainer has no {_device(config)} for runs: its sets of devices are {placement.names}.",
            field="overrides.execution.device",
            hint="Override execution.device with auto or cpu, or add a set of GPUs to SYNFARM_TRAINER_DEVICES.",
        )
    if any(devices.gpus for devices in placement.sets):
        setting = f"or make a larger set of SYNFARM_TRAINER_DEVICES ({placement.names})"
    else:
        setting = "or raise SYNFARM_TRAINER_MAX_RANKS"
    raise ProblemError(
        422,
        "too_many_ranks",
        f"This trainer starts at most {most} ranks of such a run, not {ranks}.",
        field="ranks",
        hint=f"Ask for {most} or fewer, {setting}.",
    )


def _device(config: Mapping[str, Any]) -> str:
    # Runs that were frozen before the field came take what there is.
    return str(config.get("execution", {}).get("device", "auto"))
