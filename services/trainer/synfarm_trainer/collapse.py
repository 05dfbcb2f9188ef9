"""When monitors say that a run has collapsed, and what to do then. Free of torch: the service tells it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

__all__ = ["ALARMS", "Alarm", "CollapseState", "CollapseWatch", "warnings_of"]

PREFIX = "collapsed."


@dataclass(frozen=True, slots=True)
class Alarm:
    """One monitor and the value beyond which it tells a collapse."""

    monitor: str
    limit: float
    below: bool
    """Whether the collapse lies below the limit."""
    meaning: str
    cure: str

    def is_passed(self, value: float) -> bool:
        return value < self.limit if self.below else value > self.limit


_POINT = "all embeddings are nearly the same"
_SLOWER = "lower optim.lr, lengthen schedule.warmup_steps or raise ema.start"
_UNIFORM = "the targets say nothing: each is spread over all prototypes alike"
_SHARPER = "lower objective.teacher_temperature, or lower optim.lr"
_ONE = "all targets name the same few prototypes"
_EVEN = "lower objective.center_momentum, set objective.targets to sinkhorn, or raise objective.teacher_temperature"

ALARMS: tuple[Alarm, ...] = (
    # Cosines of 0.9975 between any two: at a temperature of 0.08 their probabilities differ by some percent.
    Alarm("key_spread", 0.05, below=True, meaning=_POINT, cure=_SLOWER),
    Alarm("patch_spread", 0.02, below=True, meaning="all masked patches are nearly the same", cure=_SLOWER),
    # Hardly more than one direction; a healthy run has several, also of few concepts.
    Alarm("key_effective_rank", 1.3, below=True, meaning="embeddings lie on a line", cure=_SLOWER),
    # Of 65,536 prototypes 0.1 are three, of 256 less than two.
    Alarm("prototype_use", 0.1, below=True, meaning=_ONE, cure=_EVEN),
    Alarm("target_entropy", 0.995, below=False, meaning=_UNIFORM, cure=_SHARPER),
    Alarm("patch_target_entropy", 0.995, below=False, meaning=_UNIFORM, cure=_SHARPER),
)
"""Classes of ``supce`` and class tokens of ``mae`` have none: they may lie close together in a good run."""
_BY_NAME = {alarm.monitor: alarm for alarm in ALARMS}


class CollapseState(BaseModel):
    """Of a :class:`CollapseWatch`, as a checkpoint has it; of monitors that are no more nothing is asked."""

    passed: dict[str, int] = {}
    healthy: tuple[str, ...] = ()


class CollapseWatch:
    """Counts steps in a row beyond a limit.

    A fresh network looks collapsed: its class tokens differ little. So a monitor counts once it has been on the healthy
    side, or once the warm-up is over. Both are part of a run's state: on machines that are taken away every few
    minutes nothing would ever have lasted long enough.
    """

    def __init__(self, *, steps: int, warmup_steps: int) -> None:
        """``steps`` in a row tell a collapse; 0 for never."""
        self._steps, self._warmup = steps, warmup_steps
        self._passed: dict[str, int] = {}
        self._healthy: set[str] = set()

    def state(self) -> CollapseState:
        """For a checkpoint."""
        return CollapseState(passed=dict(self._passed), healthy=tuple(sorted(self._healthy)))

    def go_on_from(self, state: CollapseState) -> None:
        """As :meth:`state` was."""
        self._passed, self._healthy = dict(state.passed), set(state.healthy)

    def see(self, step: int, monitors: Mapping[str, float]) -> dict[str, float]:
        """``collapsed.<monitor>`` with the steps in a row, for each that has been beyond its limit for long enough."""
        for alarm in ALARMS:
            if alarm.monitor not in monitors:
                continue
            passed = alarm.is_passed(monitors[alarm.monitor])
            if not passed:
                self._healthy.add(alarm.monitor)
            counts = passed and (alarm.monitor in self._healthy or step > self._warmup)
            self._passed[alarm.monitor] = self._passed.get(alarm.monitor, 0) + 1 if counts else 0
        found = {name: float(count) for name, count in self._passed.items() if self._steps and count >= self._steps}
        return {f"{PREFIX}{name}": count for name, count in found.items()}


def warnings_of(monitors: Mapping[str, float]) -> tuple[str, ...]:
    """What a step's monitors warn of, in words that name the monitor and the cure."""
    told = []
    for name, steps in monitors.items():
        alarm = _BY_NAME.get(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
        if alarm is not None:
            side = "below" if alarm.below else "above"
            value = monitors.get(alarm.monitor, alarm.limit)
            told.append(
                f"collapsed: {alarm.monitor} is {value:.3g}, {side} {alarm.limit} for {int(steps)} steps: "
                f"{alarm.meaning}; {alarm.cure}"
            )
    return tuple(told)
