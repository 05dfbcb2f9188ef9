"""The pitfalls of method section 7 that concern a step and what it moves, a test each under its number.

15: ``losses/test_pitfalls.py`` and ``test_schedules.py``. 23: ``test_optimizer_groups.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer import ema
from synfarm_trainer.config import EmaConfig
from synfarm_trainer.loop import Trainer
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.presets import resolve
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.schedules import ema_momentum, learning_rate
from synfarm_trainer.session import Session, Start

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
QUICK: dict[str, object] = {"eval.knn": False, "eval.patch_pca": False}


@pytest.fixture(autouse=True)
def _torch_state():
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def begin(tmp_path: Path, write_dataset, write_run, open_attempt):
    """(store, overrides, attempt) to a session."""

    def make(store: MemoryStore, overrides: dict[str, object], attempt: int = 0) -> Session:
        if attempt == 0:
            write_run(store, write_dataset(store), overrides={**overrides, **QUICK})
        open_attempt(store, attempt)
        return Session(store, Start(RUN, attempt, tmp_path), Ranks(), Faults(), lambda: False)

    return make


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().double().clone() for name, p in module.named_parameters()}


@pytest.mark.parametrize("micro", [0, 3])
def test_21_the_teacher_follows_once_a_step_after_the_optimiser_by_the_steps_momentum(
    begin, every_term, micro: int
) -> None:
    """Not per micro-batch, not by a constant, not by the student before the step; the predictor has no copy."""
    session = begin(MemoryStore(), {**every_term, "execution.micro_captions": micro, "schedule.steps": 5})
    objective: Any = session._objective
    before, momenta = weights(objective.teacher), []
    for step, outcome in enumerate(session._trainer.run(0)):
        student, teacher = weights(objective.student), weights(objective.teacher)
        momentum = ema_momentum(step, session.config.schedule, session.config.ema)
        assert outcome.metrics.ema_momentum == momentum
        for name, weight in teacher.items():
            wanted = momentum * before[name] + (1 - momentum) * student[name]
            torch.testing.assert_close(weight, wanted, rtol=0, atol=1e-6)
        before = teacher
        momenta.append(momentum)
    session.close()
    assert momenta == sorted(set(momenta)), "it rises at every step"
    assert momenta[0] == session.config.ema.start
    assert not any(name.startswith("predictor") for name in before)


def test_21_buffers_are_not_averaged() -> None:
    student, teacher = (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)) for _ in range(2))
    ema.copy_into(teacher, student)
    student[1].running_mean.fill_(7.0)
    ema.update(teacher, student, 0.5)
    assert teacher[1].running_mean.abs().max() == 0


def test_21_the_momentum_ends_at_its_end() -> None:
    schedule = resolve("vit-b16").schedule
    assert ema_momentum(schedule.steps, schedule, EmaConfig()) == 1.0


@pytest.mark.parametrize(
    "overrides",
    [
        {"objective.ibot_weight": 1.0},
        {"objective.name": "moco_v3", "data.crops": 2},
        {"objective.name": "dinov2", "data.crops": 2},
    ],
    ids=["synclr", "moco_v3", "dinov2"],
)
def test_22_the_teacher_drops_nothing_and_is_in_evaluation_mode_at_every_step(
    begin, overrides: dict[str, object]
) -> None:
    """Stochastic depth of a half is on in the student; a resumed teacher is as quiet as a new one."""
    own = {"data.cell_captions": 3, "model.drop_path": 0.5, "schedule.steps": 4, "checkpoint.every_steps": 2}
    store = MemoryStore()
    for attempt in (0, 1):
        session = begin(store, {**overrides, **own}, attempt)
        teacher: Any = session._objective.teacher
        seen = 0

        def look(module: nn.Module, inputs: Any, teacher: nn.Module = teacher) -> None:
            nonlocal seen
            seen += 1
            assert not any(part.training for part in teacher.modules())

        teacher.backbone.norm.register_forward_pre_hook(look)
        images = torch.randn(3, 3, 16, 16)
        first = teacher.backbone.tokens(images)
        assert torch.equal(first, teacher.backbone.tokens(images))
        for outcome in session._trainer.run(session.step):
            session.step = outcome.metrics.step
            if session.step == 2 and attempt == 0:
                session._save()
                break
        session._announce(session._saver.drain())
        session.close()
        assert seen > 2
    assert session.step == 4


def test_42_a_resume_in_the_middle_of_a_later_epoch_goes_on_with_its_batches_and_schedules(begin) -> None:
    """Schedules go by the step, the order of captions by the epoch; neither by what a new loader counts."""
    overrides: dict[str, object] = {"schedule.steps": 12, "schedule.warmup_steps": 3, "checkpoint.every_steps": 7}

    def told(trainer: Trainer, start: int, stop: int) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for outcome in trainer.run(start):
            m = outcome.metrics
            found.append((m.step, m.loss_hex, m.batch_sha256, m.learning_rate, m.ema_momentum, m.epoch))
            if m.step == stop:
                break
        return found

    session = begin(MemoryStore(), overrides)
    whole = told(session._trainer, 0, 12)
    session.close()
    assert len({batch for _, _, batch, *_ in whole}) == 12, "another order in each epoch"
    store = MemoryStore()
    session = begin(store, overrides)
    first = told(session._trainer, 0, 7)
    session.step = 7
    session._save()
    session._announce(session._saver.drain())
    session.close()
    resumed = begin(store, overrides, attempt=1)
    assert resumed.step == 7
    assert 1 < 7 / resumed._plan.steps_per_epoch != 7 // resumed._plan.steps_per_epoch, "in the middle of an epoch"
    assert first + told(resumed._trainer, 7, 12) == whole
    resumed.close()
    config = resumed.config
    assert [row[3] for row in whole] == [learning_rate(step, config.schedule, config.optim) for step in range(12)]


def test_22_every_teacher_is_built_in_evaluation_mode() -> None:
    for overrides in ({}, {"objective.name": "dino", "data.crops": 2}, {"objective.name": "moco_v3", "data.crops": 2}):
        objective = build_objective(resolve("tiny", overrides), seed=1, concepts=3)
        assert objective.teacher is not None
        assert not objective.teacher.training
        assert not any(p.requires_grad for p in objective.teacher.parameters())
