"""The multi-positive loss, whole and in tiles, against a slow reference in float64 and the published numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import slow_contrast
import torch
from agreement import agree, directions
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from synfarm_trainer.losses.contrast_tiles import multi_positive_loss_in_tiles
from synfarm_trainer.losses.multi_positive import multi_positive_loss

PUBLISHED = np.load(Path(__file__).parents[2] / "oracles" / "multipos_stablerep.npz", allow_pickle=False)


def in_tiles(rows: int, columns: int) -> Callable[..., Tensor]:
    return lambda *arguments: multi_positive_loss_in_tiles(*arguments, tile=(rows, columns))


FORMS = pytest.mark.parametrize("form", [multi_positive_loss, in_tiles(4, 5), in_tiles(1024, 8192)])


def batch(seed: int, captions: int = 5, views: int = 3, dim: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    labels = torch.arange(captions).repeat_interleave(views) * 7
    return directions(len(labels), dim, seed=seed), directions(len(labels), dim, seed=seed + 100), labels


@FORMS
@pytest.mark.parametrize("temperature", [0.08, 0.1, 1.0])
@pytest.mark.parametrize("excluded", [True, False])
def test_it_equals_the_slow_reference(form: Callable[..., Tensor], temperature: float, excluded: bool) -> None:
    """Value and gradients; those of the keys are there as soon as someone asks for them."""
    anchors, keys, labels = batch(0)
    own = torch.arange(len(keys)) if excluded else torch.full((len(keys),), -1)
    rest = labels, labels, own, temperature
    agree(lambda a, k: form(a, k, *rest), lambda a, k: slow_contrast.multi_positive(a, k, *rest), anchors, keys)


@settings(max_examples=30)
@given(
    captions=st.integers(1, 4),
    views=st.integers(2, 3),
    repeated=st.booleans(),
    rows=st.integers(1, 14),
    columns=st.integers(1, 14),
    seed=st.integers(0, 99),
)
def test_tiles_of_any_size_give_the_same(
    captions: int, views: int, repeated: bool, rows: int, columns: int, seed: int
) -> None:
    """Also where a caption comes twice, an anchor has no own key, and a temperature learns."""
    anchors, keys, labels = batch(seed, captions, views, dim=3)
    labels = torch.zeros_like(labels) if repeated else labels
    own = torch.arange(len(keys))
    own[::3] = -1
    rest = labels, labels, own
    agree(
        lambda a, k, t: in_tiles(rows, columns)(a, k, *rest, t),
        lambda a, k, t: slow_contrast.multi_positive(a, k, *rest, t),
        anchors,
        keys,
        torch.tensor(0.3, dtype=torch.float64),
    )


@FORMS
def test_numbers_fixed_once(form: Callable[..., Tensor]) -> None:
    """By hand: keys on the axes, one positive at cosine 1, one at 0, own left out, one negative at -1."""
    keys = torch.tensor([[1.0, 0], [1, 0], [0, 1], [-1, 0]], dtype=torch.float64)
    loss = form(keys[:1], keys, torch.tensor([3]), torch.tensor([3, 3, 3, 4]), torch.tensor([0]), 1.0)
    expected = math.log(math.e + 1 + 1 / math.e) - 0.5
    assert loss.item() == pytest.approx(expected, rel=1e-14)


def test_a_slice_of_anchors_gives_the_same_losses_and_gradients() -> None:
    anchors, keys, labels = batch(1)
    own = torch.arange(len(keys))
    whole = anchors.clone().requires_grad_()
    parts = anchors.clone().requires_grad_()
    multi_positive_loss(whole, keys, labels, labels, own, 0.1).sum().backward()
    for part in (slice(0, 4), slice(4, 15)):
        multi_positive_loss(parts[part], keys, labels[part], labels, own[part], 0.1).sum().backward()
    assert torch.allclose(whole.grad, parts.grad, rtol=1e-12, atol=1e-14)


@FORMS
@pytest.mark.parametrize("temperature", ["0.08", "0.1"])
@pytest.mark.parametrize(("name", "rtol", "atol"), [("f32", 1e-5, 1e-6), ("f64", 1e-10, 1e-10)])
def test_the_published_loss_without_a_teacher_and_its_gradient(
    form: Callable[..., Tensor], name: str, rtol: float, atol: float, temperature: str
) -> None:
    """StableRep's loss: anchors are the keys, gradient through both. Two ranks: ``test_two_ranks.py``."""
    numbers = f"world1/rank0/{name}/T{temperature}"
    expected = torch.from_numpy(PUBLISHED[f"{numbers}/grad"])
    features = torch.from_numpy(PUBLISHED["in/rank0/feats"]).to(expected.dtype).requires_grad_()
    labels = torch.from_numpy(PUBLISHED["in/rank0/labels"])
    unit = normalize(features, dim=-1)
    loss = form(unit, unit, labels, labels, torch.arange(len(labels)), float(temperature)).mean()
    loss.backward()
    assert loss.item() == pytest.approx(float(PUBLISHED[f"{numbers}/loss"]), rel=rtol)
    torch.testing.assert_close(features.grad, expected, rtol=rtol, atol=atol)


@FORMS
def test_simclr_is_the_same_with_the_image_as_label(form: Callable[..., Tensor]) -> None:
    """Two crops an image, one positive each: cross-entropy over all other crops (Chen et al. 2020, equation 1)."""
    crops = directions(10, 6, seed=3)
    images = torch.arange(5).tile(2)

    def by_definition(u: Tensor) -> Tensor:
        logits = (u @ u.T / 0.2).masked_fill(torch.eye(10, dtype=torch.bool), -torch.inf)
        return torch.nn.functional.cross_entropy(logits, (torch.arange(10) + 5) % 10, reduction="none")

    agree(lambda u: form(u, u, images, images, torch.arange(10), 0.2), by_definition, crops)


@FORMS
def test_no_anchor_at_all_is_no_mistake(form: Callable[..., Tensor]) -> None:
    """A rank or a micro-batch may have nothing of a kind: no losses, and gradients of nothing."""
    anchors, keys = torch.zeros(0, 4, requires_grad=True), directions(3, 4).float().requires_grad_()
    empty = torch.zeros(0, dtype=torch.long)
    losses = form(anchors, keys, empty, torch.tensor([1, 1, 2]), empty, 0.1)
    assert losses.shape == (0,)
    losses.sum().backward()
    assert torch.count_nonzero(keys.grad) == 0


# torch.compile itself looks at the gradient of what comes out of the first part.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiler_does_not_see_into_tiles() -> None:
    anchors, keys, labels = batch(5)
    rest = labels, labels, torch.arange(len(keys)), 0.1
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op.startswith("call"))
        return graph.forward

    compiled = torch.compile(lambda a, k: in_tiles(4, 4)(2 * a, k, *rest) + 1, backend=backend)
    agree(compiled, lambda a, k: multi_positive_loss(2 * a, k, *rest) + 1, anchors, keys)
    assert {name.strip("<>").split()[-1] for name in seen} == {"mul", "add"}, "what is around it is compiled, no more"
