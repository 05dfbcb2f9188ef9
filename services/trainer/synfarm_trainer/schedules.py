"""Schedules as pure functions of the step number (method sections 3.6 to 3.8), evaluated before the step."""

from __future__ import annotations

import math

from synfarm_trainer.config import EmaConfig, OptimConfig, PrototypeConfig, ScheduleConfig, SynclrConfig

__all__ = [
    "ema_momentum",
    "half_cosine",
    "learning_rate",
    "linear",
    "prototype_temperature",
    "prototypes_move",
    "teacher_temperature",
    "weight_decay",
]


def half_cosine(step: float, steps: float, start: float, end: float) -> float:
    """From ``start`` at step 0 to ``end`` at ``steps``."""
    return end + (start - end) * (1 + math.cos(math.pi * step / steps)) / 2


def linear(step: float, steps: float, start: float, end: float) -> float:
    """From ``start`` at step 0 to ``end`` at ``steps``."""
    return start + (end - start) * step / steps


def learning_rate(step: int, schedule: ScheduleConfig, optim: OptimConfig) -> float:
    """Linear from 0 over the warm-up, then a half cosine to ``min_lr``."""
    warmup = schedule.warmup_steps
    if step < warmup:
        return linear(step, warmup, 0.0, optim.lr)
    return half_cosine(step - warmup, schedule.steps - warmup, optim.lr, optim.min_lr)


def weight_decay(step: int, schedule: ScheduleConfig, optim: OptimConfig) -> float:
    """A half cosine over the whole run, without warm-up."""
    return half_cosine(step, schedule.steps, optim.weight_decay, optim.weight_decay_end)


def ema_momentum(step: int, schedule: ScheduleConfig, ema: EmaConfig) -> float:
    """A half cosine over the whole run."""
    return half_cosine(step, schedule.steps, ema.start, ema.end)


def teacher_temperature(step: int, objective: SynclrConfig) -> float:
    """Of the masked patches' targets: linear over its own number of steps, then constant."""
    start, end, steps = (
        objective.teacher_temperature_start,
        objective.teacher_temperature,
        objective.teacher_temperature_steps,
    )
    return end if step >= steps else linear(step, steps, start, end)


def prototype_temperature(step: int, schedule: ScheduleConfig, objective: PrototypeConfig) -> float:
    """Of DINO's targets: linear over its share of the run, then constant."""
    start, end = objective.teacher_temperature_start, objective.teacher_temperature
    steps = int(objective.teacher_temperature_warmup * schedule.steps)
    return end if step >= steps else linear(step, steps, start, end)


def prototypes_move(step: int, schedule: ScheduleConfig, objective: PrototypeConfig | SynclrConfig) -> bool:
    """Whether the last layer of a head of prototypes is learned in this step."""
    return step >= int(objective.last_layer_frozen * schedule.steps)
