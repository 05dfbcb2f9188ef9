"""The training loop: one optimiser step after another, each yielded with its metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim import AdamW

from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import StepMetrics
from synfarm_trainer import ema
from synfarm_trainer.collapse import CollapseWatch
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.loader import Loader, RankBatch, batch_sha256
from synfarm_trainer.guard import NonFinite, gradient_words, hold, loss_words
from synfarm_trainer.landing import land
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.protocol import Objective
from synfarm_trainer.objectives.term_gradients import TermGradients, not_finite
from synfarm_trainer.optim import set_hyperparameters
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.schedules import ema_momentum, learning_rate, weight_decay
from synfarm_trainer.speed import Speed
from synfarm_trainer.step_time import Laps

__all__ = ["NonFinite", "StepOutcome", "Trainer"]

Refill = tuple[int, int, int]
"""(row, image wanted, image taken)."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """A finished step; the same on every rank."""

    metrics: StepMetrics
    stop: bool
    """Some rank was asked to stop."""
    refills: tuple[Refill, ...]


class Trainer:
    """Owns nothing but the order of things; every part is handed in."""

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective,
        optimizer: AdamW,
        loader: Loader,
        ranks: Ranks,
        *,
        passes: Callable[[int], float],
        refilled: int = 0,
        speed: Speed | None = None,
        reach: Callable[[int], None] = lambda step: None,
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            passes: the epochs that so many steps come to.
            reach: called with a step's number before it begins (fault hook ``train.step``).
        """
        self._config, self._objective, self._optimizer = config, objective, optimizer
        self._loader, self._ranks, self._passes = loader, ranks, passes
        self._reach, self._stop_asked = reach, stop_asked
        self.refilled, self._speed = refilled, speed
        self.paused = 0.0
        """Seconds since the last step that were not the next one's: an evaluation."""
        self._since: float | None = None
        """The end of the last step, also of one of an earlier :meth:`run`."""
        self.collapse = CollapseWatch(steps=config.eval.collapse_steps, warmup_steps=config.schedule.warmup_steps)

    def run(self, start: int, stop: int | None = None) -> Iterator[StepOutcome]:
        """Steps ``start + 1`` to ``stop``, or the last (numbers of finished steps); ends early after an outcome with
        ``stop``.

        Raises:
            NonFinite, DatasetDamaged, StoreError: the run cannot go on.
        """
        last = self._config.schedule.steps
        self._since = time.perf_counter() if self._since is None else self._since
        for batch in self._loader.batches(start, last if stop is None else stop):
            self._reach(batch.step + 1)
            outcome = self._step(batch, self._since + self.paused)
            self._since, self.paused = time.perf_counter(), 0.0
            yield outcome
            if outcome.stop:
                return

    def _step(self, batch: RankBatch, since: float) -> StepOutcome:
        config, ranks, index = self._config, self._ranks, batch.step
        laps = Laps(since, batch.wait_seconds)
        lr = learning_rate(index, config.schedule, config.optim)
        momentum = ema_momentum(index, config.schedule, config.ema)
        set_hyperparameters(self._optimizer, lr=lr, weight_decay=weight_decay(index, config.schedule, config.optim))
        captions = config.execution.micro_captions or len(batch.rows)
        device = next(self._objective.student.parameters()).device
        share, micro = land(batch, config, device), captions * config.crops_of_caption
        held = hold(self._objective)
        every = config.optim.term_norms_every
        separate = TermGradients(self._objective.student) if every and (index + 1) % every == 0 else None
        terms = self._objective.accumulate_gradients(share, ranks, step=index, micro_crops=micro, separate=separate)
        # Asked anew: an objective may hold some still during its first steps.
        parameters = [p for p in self._objective.student.parameters() if p.requires_grad]
        if ranks.world > 1:
            laps.end("gradients")
        gradient = ranks.sum_gradients(parameters)
        # One transfer: losses and norm wait for the device together.
        numbers = torch.stack([x.to(device, torch.float64) for x in (*terms.losses.values(), gradient.norm())])
        *shares, norm = numbers.tolist()
        counts = self._loader.read_counts()
        mine = [*shares, *terms.monitors.values(), *counts.values()]
        mine += [float(len(batch.refilled)), float(self._stop_asked()), batch.wait_seconds]
        told = ranks.gather(torch.tensor([mine], dtype=torch.float64)).tolist()
        laps.end("exchange" if ranks.world > 1 else "gradients")
        sums = [sum(column) for column in zip(*told, strict=True)]
        losses = dict(zip(terms.losses, sums, strict=False))
        losses["total"] = sum(terms.weights[name] * loss for name, loss in losses.items())
        monitors = {name: sums[len(terms.losses) + i] / ranks.world for i, name in enumerate(terms.monitors)}
        reading = dict(zip(counts, sums[len(terms.losses) + len(monitors) :], strict=False))
        words = loss_words(index + 1, losses)
        if words is None and not math.isfinite(norm):
            held.take_back()
            words = gradient_words(index + 1, norm, self._faults(share, index, micro, terms.losses))
        if words is not None:
            held.take_back()
            self._optimizer.zero_grad(set_to_none=True)
            raise NonFinite(words)
        monitors["gradient_norm"] = norm
        if separate is not None:
            # A single term's gradient is the whole one.
            norms = separate.norms(ranks) or dict.fromkeys(terms.losses, norm)
            monitors |= {f"gradient_norm.{name}": value for name, value in norms.items()}
        refills = self._gather_refills(batch.refilled, most=int(max(row[-3] for row in told)))
        self.refilled += len(refills)

        if config.optim.clip_norm and norm > config.optim.clip_norm:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(config.optim.clip_norm / norm)
        self._optimizer.step()
        self._objective.after_step()
        self._optimizer.zero_grad(set_to_none=True)
        if (teacher := self._objective.teacher) is not None:
            ema.update(teacher, self._objective.student, momentum)

        laps.end("update")
        seconds = time.perf_counter() - since
        digests = ranks.gather(torch.from_numpy(batch.digests))
        metrics = StepMetrics(
            step=index + 1,
            at=utc_now(),
            epoch=self._passes(index + 1),
            losses=losses,
            loss_hex=losses["total"].hex(),
            batch_sha256=batch_sha256(digests.numpy()),
            learning_rate=lr,
            ema_momentum=momentum,
            seconds=seconds,
            data_wait_seconds=max(row[-1] for row in told),
            images_per_second=config.data.captions_per_batch * config.data.views / seconds,
            **(self._speed.of(seconds) if self._speed is not None else {}),
            refilled=self.refilled,
            split=laps.seconds,
            monitors={**monitors, **self.collapse.see(index + 1, monitors)},
            reading=reading,
        )
        return StepOutcome(metrics, stop=any(row[-2] for row in told), refills=refills)

    def _faults(self, share: TensorBatch, index: int, micro: int, terms: Iterable[str]) -> dict[str, list[str]]:
        """The parameters in which the gradient is not finite, by the term that has it."""
        objective, ranks = self._objective, self._ranks
        if len(names := list(terms)) == 1:
            grads = {name: p.grad for name, p in objective.student.named_parameters() if p.grad is not None}
            return {names[0]: not_finite(grads)}
        separate = TermGradients(objective.student)
        objective.accumulate_gradients(share, ranks, step=index, micro_crops=micro, separate=separate)
        return separate.faults(ranks)

    def _gather_refills(self, mine: tuple[Refill, ...], most: int) -> tuple[Refill, ...]:
        if most == 0:
            return ()
        padded = np.full((most, 3), -1, dtype=np.int64)
        padded[: len(mine)] = np.array(mine, dtype=np.int64).reshape(-1, 3)
        rows = self._ranks.gather(torch.from_numpy(padded)).tolist()
        return tuple((row, wanted, taken) for row, wanted, taken in rows if row >= 0)
