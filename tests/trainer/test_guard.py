"""NaN and infinities: the term and the step are named, nothing moves, no checkpoint is spoiled, the end is recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.checkpoint import CheckpointStore
from synfarm_trainer.endings import exit_reason
from synfarm_trainer.guard import check_state
from synfarm_trainer.launch.outcome import read_outcome
from synfarm_trainer.loop import NonFinite
from synfarm_trainer.losses.patch_pieces import masked_patch_loss_in_pieces
from synfarm_trainer.objectives import projected
from synfarm_trainer.objectives.distilled import patches
from synfarm_trainer.objectives.synclr import step as synclr_step
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start
from synfarm_trainer.state import state_tensors

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
QUICK: dict[str, object] = {"eval.knn": False, "eval.patch_pca": False}
DINOV2: dict[str, object] = {
    "objective.name": "dinov2",
    "objective.targets": "centering",
    "objective.prototypes": 24,
    "data.crops": 2,
    "data.views": 2,
}


class _Poison(torch.autograd.Function):
    """The same value; a gradient that is infinite."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * torch.inf


@pytest.fixture(autouse=True)
def _torch_state():
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def fail_at_five(
    tmp_path: Path, write_dataset: Any, write_run: Any, open_attempt: Any
) -> Callable[..., tuple[Session, MemoryStore, str]]:
    """(overrides, poison) to the session, its store and the words of its end; ``poison`` is called before step 5."""

    def run(overrides: dict[str, object], poison: Callable[[Session], None]) -> tuple[Session, MemoryStore, str]:
        store = MemoryStore()
        write_run(store, write_dataset(store), overrides={**overrides, **QUICK})
        open_attempt(store, 0)
        start = Start(RUN, 0, tmp_path)
        session = Session(store, start, Ranks(), Faults(), lambda: False)
        held: dict[str, Tensor] = {}

        def reach(step: int) -> None:
            if step == 5:
                poison(session)
                held.update(everything(session))

        session._trainer._reach = reach
        with pytest.raises(NonFinite) as caught:
            session.train()
        session.close()
        for name, tensor in everything(session).items():
            assert torch.equal(tensor, held[name]), f"{name} was moved"
        start.leave(exit_reason(caught.value), str(caught.value), session.step)
        outcome = read_outcome(start.folder / "exit-000000.json", 1)
        assert outcome.ending == "failed", "another start would fail again"
        assert outcome.reason == f"nan: {caught.value}"
        checkpoints = CheckpointStore(store, RUN, 1, "")
        found = checkpoints.newest()
        assert found is not None
        assert found[1] == 3, "the last checkpoint is the one before, and whole"
        return session, store, str(caught.value)

    return run


def everything(session: Session) -> dict[str, Tensor]:
    """Weights, centers and moments."""
    student, teacher = session._objective.student, session._objective.teacher
    found = {f"student.{name}": x.clone() for name, x in student.state_dict().items()}
    if teacher is not None:
        found |= {f"teacher.{name}": x.clone() for name, x in teacher.state_dict().items()}
    for name, parameter in student.named_parameters():
        for slot, moment in session._optimizer.state.get(parameter, {}).items():
            found[f"{slot}.{name}"] = moment.clone()
    return found


def poisoned(monkeypatch: pytest.MonkeyPatch, module: Any, change: Callable[[Tensor], Tensor]) -> None:
    def loss(*arguments: Any) -> tuple[Tensor, Tensor]:
        losses, entropies = masked_patch_loss_in_pieces(*arguments)
        return change(losses), entropies

    monkeypatch.setattr(module, "masked_patch_loss_in_pieces", loss)


@pytest.mark.parametrize("micro", [0, 3])
def test_a_term_that_is_nan_is_named(monkeypatch, every_term, fail_at_five, micro: int) -> None:
    _, _, words = fail_at_five(
        {**every_term, "execution.micro_captions": micro},
        lambda session: poisoned(monkeypatch, synclr_step, lambda losses: losses * torch.nan),
    )
    assert words.startswith("ibot is nan at step 5; lower optim.lr")


@pytest.mark.parametrize("micro", [0, 3])
def test_the_term_whose_gradient_is_infinite_is_named(monkeypatch, every_term, fail_at_five, micro: int) -> None:
    """The losses are finite; the other terms' are too, and are not named."""
    _, _, words = fail_at_five(
        {**every_term, "execution.micro_captions": micro},
        lambda session: poisoned(monkeypatch, synclr_step, _Poison.apply),
    )
    assert " at step 5: the gradient of ibot in " in words
    assert "contrastive" not in words


def test_a_refused_step_leaves_the_teachers_centers_too(monkeypatch, fail_at_five) -> None:
    session, _, words = fail_at_five(DINOV2, lambda session: poisoned(monkeypatch, patches, _Poison.apply))
    assert "the gradient of ibot in " in words
    assert float(session._objective.teacher.patch_center.abs().max()) > 0


def test_of_a_single_term_the_parameters_are_named(monkeypatch, fail_at_five) -> None:
    def poison(session: Session) -> None:
        usual = projected.ProjectedStudent.embed

        def embed(*arguments: Any, **named: Any) -> Tensor:
            return _Poison.apply(usual(*arguments, **named))

        monkeypatch.setattr(projected.ProjectedStudent, "embed", embed)

    _, _, words = fail_at_five({"objective.name": "stablerep"}, poison)
    assert "the gradient of contrastive in backbone.cls_token and " in words


@pytest.mark.parametrize("where", ["student", "teacher", "optimizer"])
def test_a_checkpoint_is_not_written_with_what_is_not_finite(
    tmp_path: Path, write_dataset, write_run, open_attempt, where: str
) -> None:
    """Spoiled after the step's own guard: by whatever moved it last."""
    store = MemoryStore()
    write_run(store, write_dataset(store), overrides=QUICK)
    open_attempt(store, 0)
    session = Session(store, Start(RUN, 0, tmp_path), Ranks(), Faults(), lambda: False)
    student = session._objective.student
    name = "projector.0.weight"
    weight = dict(student.named_parameters())[name]
    usual = session._record

    def record(outcome: Any) -> None:
        usual(outcome)
        if outcome.metrics.step == 6:
            places = {
                "student": weight.data,
                "teacher": dict(session._objective.teacher.named_parameters())[name].data,
                "optimizer": session._optimizer.state[weight]["exp_avg_sq"],
            }
            places[where][0, 0] = torch.inf

    session._record = record  # type: ignore[method-assign]
    with pytest.raises(NonFinite, match=rf"{where}\.(exp_avg_sq\.)?{name} after step 6 would spoil a checkpoint"):
        session.train()
    session.close()
    assert [step for _, step in CheckpointStore(store, RUN, 0, "").committed()] == [3]
    with pytest.raises(NonFinite):
        check_state(6, state_tensors(session._objective, session._optimizer))


def test_norms_of_terms_are_told_on_their_steps_and_training_is_the_same_bits(
    tmp_path: Path, write_dataset, write_run, open_attempt, every_term
) -> None:
    told = []
    for every in (0, 2):
        store = MemoryStore()
        overrides = {**every_term, **QUICK, "schedule.steps": 4, "optim.term_norms_every": every}
        write_run(store, write_dataset(store), overrides=overrides)
        open_attempt(store, 0)
        session = Session(store, Start(RUN, 0, tmp_path / str(every)), Ranks(), Faults(), lambda: False)
        told.append([outcome.metrics for outcome in session._trainer.run(0)])
        session.close()
    assert [m.loss_hex for m in told[0]] == [m.loss_hex for m in told[1]]
    names = [[n for n in m.monitors if n.startswith("gradient_norm.")] for m in told[1]]
    each = ["gradient_norm.contrastive", "gradient_norm.contrastive_local", "gradient_norm.ibot"]
    assert names == [[], each, [], each]
    assert not any("gradient_norm." in n for m in told[0] for n in m.monitors)
    for metrics in (told[1][1], told[1][3]):
        parts = [metrics.monitors[name] for name in each]
        assert min(parts) > 0
        assert metrics.monitors["gradient_norm"] <= sum(parts) * (1 + 1e-6)
