"""Heads with BatchNorm: statistics of all ranks, by view or not, with their gradient (method section 7, 21, 22, 29)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
from cuts import ALL_ON, CAPTIONS, TOLERANCE, draw_batch, gradient, made
from torch import Tensor

from synfarm_trainer import ema
from synfarm_trainer.config import OptimConfig, TrainConfig
from synfarm_trainer.models.batch_norm import Among, BatchNorm
from synfarm_trainer.models.heads import mlp_head
from synfarm_trainer.objectives.statistics import among_of
from synfarm_trainer.optim import build_optimizer
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.state import restore

ROWS, GROUPS, WIDTH = 24, 2, 5


def slow(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """torch's own, group by group; and the running statistics after one pass, by the definition."""
    out, means, variances = torch.empty_like(x), [], []
    for group in range(groups):
        rows = x[group::groups]
        out[group::groups] = torch.nn.functional.batch_norm(rows, None, None, weight, bias, training=True)
        means.append(rows.mean(dim=0))
        variances.append(rows.var(dim=0, unbiased=True))
    return out, 0.1 * torch.stack(means).mean(dim=0), 0.9 + 0.1 * torch.stack(variances).mean(dim=0)


def given() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows far from zero, what is asked of the output, gains, biases."""
    generator = torch.Generator().manual_seed(0)
    x, asked, affine = (torch.randn(n, WIDTH, generator=generator, dtype=torch.float64) for n in (ROWS, ROWS, 2))
    return 100 + 3 * x, asked, affine[0], affine[1]


def passed(ranks: Ranks, *, by_view: bool) -> tuple[Tensor, ...]:
    """This rank's output, gradient of its rows, of gains and biases, running statistics."""
    x, asked, weight, bias = given()
    norm = BatchNorm(WIDTH, by_view=by_view).double()
    norm.load_state_dict({**norm.state_dict(), "weight": weight, "bias": bias})
    mine = slice(ranks.rank * ROWS // ranks.world, (ranks.rank + 1) * ROWS // ranks.world)
    rows = x[mine].clone().requires_grad_()
    out = norm(rows, Among(ranks, len(rows) // GROUPS))
    out.backward(asked[mine])
    found = (out.detach(), rows.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_variance)
    return tuple(part for part in found if part is not None)


def wanted(*, by_view: bool) -> tuple[Tensor, ...]:
    x, asked, weight, bias = (part.requires_grad_(i not in {1}) for i, part in enumerate(given()))
    out, mean, variance = slow(x, weight, bias, GROUPS if by_view else 1)
    out.backward(asked)
    assert x.grad is not None
    assert weight.grad is not None
    assert bias.grad is not None
    return out.detach(), x.grad, weight.grad, bias.grad, mean.detach(), variance.detach()


def put_together(ranks: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Rows one after another, gradients of parameters added, running statistics of the first."""
    columns = list(zip(*ranks, strict=True))
    for column in columns[4:]:
        assert all(torch.equal(column[0], other) for other in column), "all ranks have the same bits"
    return (
        *(torch.cat(column) for column in columns[:2]),
        *(torch.stack(column).sum(dim=0) for column in columns[2:4]),
        *(column[0] for column in columns[4:]),
    )


@pytest.mark.parametrize("by_view", [True, False])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_29_statistics_and_gradients_are_those_of_torch_view_by_view_at_any_number_of_ranks(
    on_ranks: Any, world: int, by_view: bool
) -> None:
    found = put_together(on_ranks(world, lambda ranks: passed(ranks, by_view=by_view)))
    for part, right in zip(found, wanted(by_view=by_view), strict=True):
        assert float((part - right).abs().max()) < TOLERANCE
    one, many = (wanted(by_view=choice)[0] for choice in (False, True))
    assert float((one - many).abs().max()) > 1e-2, "one norm for all views is another norm"


def test_two_processes_that_are_joined_by_gloo_find_the_same(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(rank), str(tmp_path / "meeting"), str(tmp_path / f"{rank}.npz")]
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(120) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    saved = [np.load(tmp_path / f"{rank}.npz", allow_pickle=False) for rank in range(2)]
    ranks = [tuple(torch.from_numpy(file[f"arr_{i}"]) for i in range(6)) for file in saved]
    for part, right in zip(put_together(ranks), wanted(by_view=True), strict=True):
        assert float((part - right).abs().max()) < TOLERANCE


def test_heads_have_the_layers_of_their_sources_and_use_running_statistics_outside_of_training() -> None:
    moco, stablerep = (mlp_head(6, 10, 4, hidden_layers=2, norm="batch", last_norm=last) for last in (True, False))
    hidden = ("Linear", "BatchNorm", "ReLU") * 2
    assert [type(layer).__name__ for layer in moco] == [*hidden, "Linear", "BatchNorm"]
    assert [type(layer).__name__ for layer in stablerep] == [*hidden, "Linear"]
    assert moco[7].weight is None
    assert (moco[6].bias, stablerep[6].bias is None) == (None, False)
    norm = BatchNorm(3)
    norm.running_mean.fill_(2.0)
    norm.running_variance.fill_(4.0 - norm.eps)
    torch.testing.assert_close(norm(torch.full((2, 3), 4.0)), torch.ones(2, 3))


NAMES = pytest.mark.parametrize("name", ["synclr", "stablerep", "simclr", "moco_v3"])


def config_of(small_config: Callable[..., TrainConfig], name: str, over: str = "views") -> TrainConfig:
    chosen: dict[str, object] = {"objective.name": name, "objective.head_norm": "batch"}
    crops = 2 if name in {"simclr", "moco_v3"} else 1
    return small_config({**ALL_ON, **chosen, "objective.batch_norm_over": over, "data.crops": crops})


class Slow(torch.nn.Module):
    """Stands for a :class:`BatchNorm`: torch's own, one view after another."""

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.by_view = norm.weight, norm.bias, norm.by_view

    def forward(self, x: Tensor) -> Tensor:
        groups = len(x) // CAPTIONS if self.by_view else 1
        parts = [
            torch.nn.functional.batch_norm(x[g::groups], None, None, self.weight, self.bias, True)
            for g in range(groups)
        ]
        return torch.stack(parts, dim=1).flatten(0, 1)


def put_slow_norms(head: torch.nn.Sequential) -> None:
    for place, layer in enumerate(head):
        if isinstance(layer, BatchNorm):
            head[place] = Slow(layer)


@NAMES
@pytest.mark.parametrize("over", ["views", "batch"])
def test_29_every_objective_has_the_gradient_of_its_slow_heads_at_any_number_of_ranks(
    small_config: Callable[..., TrainConfig], on_ranks: Any, name: str, over: str
) -> None:
    config = config_of(small_config, name, over)
    batch, objective = draw_batch(config), made(config)
    for network in (objective.student, objective.teacher):
        for part in ("projector", "predictor"):
            if hasattr(network, part):
                put_slow_norms(getattr(network, part))
    whole = len(batch)
    terms = objective.accumulate_gradients(batch, Ranks(), step=0, micro_crops=whole)
    right = {key: p.grad for key, p in objective.student.named_parameters() if p.grad is not None}
    for world in (1, 2, 3):  # whole cells of dropped branches a rank; four ranks stand above
        found = gradient(on_ranks, config, batch, world=world)
        assert found.losses == pytest.approx({key: float(loss) for key, loss in terms.losses.items()}, abs=TOLERANCE)
        assert found.gradient.keys() == right.keys()
        for key, value in right.items():
            tolerance = 1e-6 if key.endswith("pos_embed") else TOLERANCE
            assert float((found.gradient[key] - value).abs().max()) < tolerance, (key, world)


@NAMES
def test_a_pass_in_pieces_is_refused_with_the_cure(small_config: Callable[..., TrainConfig], name: str) -> None:
    config = config_of(small_config, name)
    message = r"^execution\.micro_captions: .*set it to 0, or objective\.head_norm to layer"
    with pytest.raises(ValueError, match=message):
        made(config).accumulate_gradients(draw_batch(config), Ranks(), step=0, micro_crops=4 * config.data.crops)
    with pytest.raises(ValueError, match=message):
        small_config({"objective.head_norm": "batch", "execution.micro_captions": 2})


def test_21_running_statistics_are_each_networks_own_and_come_back_with_a_checkpoint(
    small_config: Callable[..., TrainConfig], on_ranks: Any, saved: Callable[..., dict[str, bytes]]
) -> None:
    config = config_of(small_config, "moco_v3")
    batch, name = draw_batch(config), "projector.1.running_mean"
    first = gradient(on_ranks, config, batch).objective
    student, teacher = first.student.state_dict(), first.teacher.state_dict()
    assert not torch.equal(student[name], teacher[name]), "its own passes' statistics"
    before = teacher[name].clone()
    ema.update(first.teacher, first.student, 0.5)
    assert torch.equal(first.teacher.state_dict()[name], before), "parameters are averaged, statistics are not"
    optimizer = build_optimizer(first.student, OptimConfig())
    files, second = saved(first, optimizer), made(config)
    restore(second, build_optimizer(second.student, OptimConfig()), files)
    for network, again in ((first.student, second.student), (first.teacher, second.teacher)):
        assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in network.state_dict().items())


def test_22_the_teachers_pass_is_the_same_each_time(small_config: Callable[..., TrainConfig]) -> None:
    """It uses the batch's statistics, as MoCo v3's; the running ones move and change nothing. No branch is dropped."""
    config = config_of(small_config, "moco_v3")
    batch, teacher = draw_batch(config), made(config).teacher
    among = among_of(config.objective, batch, Ranks(), len(batch))  # type: ignore[arg-type]
    assert not teacher.training
    with torch.no_grad():
        first, running = teacher(batch, among), teacher.projector[1].running_mean.clone()
        assert torch.equal(teacher(batch, among), first)
    assert not torch.equal(teacher.projector[1].running_mean, running)


if __name__ == "__main__":
    rank, meeting, path = sys.argv[1:]
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=int(rank), world_size=2)
    try:
        np.savez(path, *(part.numpy() for part in passed(Ranks(int(rank), 2), by_view=True)))
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()
