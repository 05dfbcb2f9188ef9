"""Blocks compiled or computed again: the same values and gradients, and a way back to eager that tells."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from synfarm_trainer.config import ModelConfig
from synfarm_trainer.models.block_passes import BlockPasses
from synfarm_trainer.models.crops_pass import Crops
from synfarm_trainer.models.vit import Backbone, build_vit, init_parameters, run_blocks

# torch.compile itself looks at the gradient of what enters a block, which came out of another.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
DEPTH, WIDTH = 3, 24
Graph = Callable[..., Any]


def backbone(passes: BlockPasses | None = None) -> Backbone:
    model = build_vit(ModelConfig(patch=8, width=WIDTH, depth=DEPTH, heads=2), image_size=32)
    init_parameters(model, seed=1, linear_std=0.2)
    if passes is not None:
        run_blocks(passes, model, None)
    return model


def crops() -> list[Crops]:
    """Of two sizes; each block keeps another number of them."""
    generator = torch.Generator().manual_seed(2)
    fewest = torch.tensor([[4, 4], [3, 3], [2, 2]])
    found = []
    for side in (32, 16):
        kept = torch.rand(4, DEPTH, 2, generator=generator).argsort(dim=0) < fewest
        found.append(Crops(torch.randn(4, 3, side, side, generator=generator), kept=kept))
    return found


def learn(model: Backbone, *, kept: bool = True) -> tuple[list[Tensor], list[Tensor]]:
    """Tokens and the gradient of all parameters."""
    found = model.tokens_of([one if kept else one._replace(kept=None) for one in crops()])
    total = torch.stack([(part * torch.linspace(-1, 2, part.numel()).view_as(part)).sum() for part in found]).sum()
    return [part.detach() for part in found], list(torch.autograd.grad(total, list(model.parameters())))


def same(first: tuple[Sequence[Tensor], ...], second: tuple[Sequence[Tensor], ...], tolerance: float = 0.0) -> bool:
    pairs = [pair for one, two in zip(first, second, strict=True) for pair in zip(one, two, strict=True)]
    return all(float((one - two).abs().max()) <= tolerance * float(one.abs().max()) for one, two in pairs)


@pytest.mark.parametrize("kept", [False, True])
def test_recompute_is_the_same_gradient_bit_for_bit_for_less_memory(kept: bool) -> None:
    held: dict[bool, int] = {}

    def found(recompute: bool) -> tuple[list[Tensor], list[Tensor]]:
        model = backbone(BlockPasses(recompute=recompute))
        given = {id(parameter.untyped_storage()) for parameter in model.parameters()}
        sizes: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if id(storage) not in given:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            model.tokens_of([one if kept else one._replace(kept=None) for one in crops()])
        held[recompute] = sum(sizes.values())
        return learn(model, kept=kept)

    assert same(found(False), found(True))
    assert held[True] < held[False] / 3


@pytest.mark.slow
def test_compiled_blocks_share_their_graphs_and_later_steps_make_no_more() -> None:
    passes = BlockPasses(backend="eager", recompute=True)
    model, plain = backbone(passes), backbone()
    for kept in (True, False):
        assert same(learn(model, kept=kept), learn(plain, kept=kept), 1e-5)
    with torch.no_grad():
        model.tokens_of(crops())
    after, limit = passes.graphs, 8
    assert passes.failure is None
    assert 0 < after <= limit
    for kept in (True, False):
        learn(model, kept=kept)
    assert passes.graphs == after


def test_the_limit_of_graphs_is_raised_for_blocks_alone() -> None:
    torch._dynamo.reset()
    before, within = torch._dynamo.config.recompile_limit, []

    def backend(graph: Graph, inputs: Sequence[Tensor]) -> Graph:
        within.append(torch._dynamo.config.recompile_limit)
        return graph

    passes = BlockPasses(backend=backend, recompute=True)
    learn(backbone(passes))
    assert passes.failure is None
    assert set(within) == {max(64, before)}
    assert torch._dynamo.config.recompile_limit == before


def _refuses(graph: Graph, inputs: Sequence[Tensor]) -> Graph:
    raise RuntimeError("no such kernel")


def _breaks_on_the_way_back(graph: Graph, inputs: Sequence[Tensor]) -> Graph:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            raise RuntimeError("no such kernel")

    return lambda *given: [Broken.apply(part) for part in graph(*given)]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("backend", [_refuses, _breaks_on_the_way_back])
def test_blocks_that_cannot_be_compiled_are_run_as_written_and_the_error_is_told(
    backend: Graph, recompute: bool
) -> None:
    torch._dynamo.reset()
    passes = BlockPasses(backend=backend, recompute=recompute)
    with capture_logs() as logs:
        found = learn(backbone(passes))
    assert same(found, learn(backbone()))
    assert "no such kernel" in (passes.failure or "")
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "compiled_blocks_failed_going_on_eager"
    ]


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler on CPUs")
def test_inductor_computes_what_is_written() -> None:
    torch._dynamo.reset()
    passes = BlockPasses(backend="inductor", recompute=True)
    assert same(learn(backbone(passes)), learn(backbone()), 1e-4)
    assert passes.failure is None


def test_a_full_memory_is_not_taken_for_a_fault_of_the_compiler() -> None:
    def full(*given: Any) -> Tensor:
        raise torch.OutOfMemoryError("no room")

    passes = BlockPasses(backend="eager")
    passes._compiled = full
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        backbone(passes).tokens_of(crops())
    assert passes.failure is None
