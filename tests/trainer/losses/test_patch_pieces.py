"""iBOT's loss in pieces: the plain form's value and gradients, through prototypes and gains."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from agreement import agree, directions, draw, value_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from synfarm_trainer.losses.masked_patches import entropy, masked_patch_loss
from synfarm_trainer.losses.patch_pieces import PatchSide, logit_parts, logit_pieces, masked_patch_loss_in_pieces
from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses

WARM, COLD = 0.1, 0.05


def gained(prototypes: Tensor, gain: Tensor) -> Tensor:
    return gain * normalize(prototypes, dim=-1)


def teacher_of(tokens: int, prototypes: int, width: int) -> tuple[PatchSide, Tensor, Tensor]:
    """The teacher's side, the masses by which it shares its tokens, and its logits in full."""
    side = PatchSide(directions(tokens, width, seed=3), directions(prototypes, width, seed=4), COLD)
    logits = side.embedded @ side.prototypes.T
    return side, prototype_masses(lambda: [logits], COLD, 3), logits


@settings(max_examples=25)
@given(
    tokens=st.integers(1, 9),
    prototypes=st.integers(2, 7),
    width=st.integers(2, 4),
    at_once=st.sampled_from([1, 10, 20, 99]),
)
def test_pieces_of_any_size_give_the_plain_form(tokens: int, prototypes: int, width: int, at_once: int) -> None:
    teacher, masses, logits = teacher_of(tokens, prototypes, width)
    targets = assignment(logits, COLD, masses)

    def in_pieces(embedded: Tensor, rows: Tensor, gain: Tensor) -> Tensor:
        student = PatchSide(embedded, gained(rows, gain), WARM)
        return masked_patch_loss_in_pieces(student, teacher, masses, at_once=at_once)[0]

    def plain(embedded: Tensor, rows: Tensor, gain: Tensor) -> Tensor:
        return masked_patch_loss(embedded @ gained(rows, gain).T, targets, WARM)

    agree(
        in_pieces,
        plain,
        directions(tokens, width),
        draw(prototypes, width, seed=1),
        1 + draw(prototypes, 1, seed=2) / 9,
    )


def test_the_entropies_are_those_of_the_targets_and_take_no_gradient() -> None:
    teacher, masses, logits = teacher_of(9, 5, 3)
    student = PatchSide(directions(9, 3).requires_grad_(), directions(5, 3), WARM)
    _, entropies = masked_patch_loss_in_pieces(student, teacher, masses, at_once=10)
    assert not entropies.requires_grad
    torch.testing.assert_close(entropies, entropy(assignment(logits, COLD, masses)), rtol=1e-10, atol=1e-10)


def test_pieces_of_logits_are_the_logits_and_give_the_same_masses() -> None:
    teacher, masses, logits = teacher_of(9, 5, 3)
    pieces = list(logit_pieces(teacher.embedded, teacher.prototypes, at_once=10))
    assert [len(piece) for piece in pieces] == [2, 2, 2, 2, 1]
    torch.testing.assert_close(torch.cat(pieces), logits)
    found = prototype_masses(lambda: logit_pieces(teacher.embedded, teacher.prototypes, at_once=10), COLD, 3)
    torch.testing.assert_close(found, masses, rtol=1e-12, atol=1e-12)


def test_centering_is_a_choice_of_masses() -> None:
    teacher, _, logits = teacher_of(6, 5, 3)
    center = draw(5, seed=9) / 10
    targets = ((logits - center) / COLD).softmax(dim=1)
    rows = directions(5, 3)
    agree(
        lambda x: masked_patch_loss_in_pieces(PatchSide(x, rows, WARM), teacher, center / COLD, at_once=10)[0],
        lambda x: masked_patch_loss(x @ rows.T, targets, WARM),
        directions(6, 3),
    )


def test_a_rank_without_tokens_has_no_losses_and_gradients_of_nothing() -> None:
    prototypes = directions(5, 3).requires_grad_()
    student = PatchSide(torch.zeros(0, 3, dtype=torch.float64, requires_grad=True), prototypes, WARM)
    teacher = PatchSide(torch.zeros(0, 3, dtype=torch.float64), directions(5, 3), COLD)
    assert [len(piece) for piece in logit_pieces(teacher.embedded, teacher.prototypes)] == [0]
    losses, entropies = masked_patch_loss_in_pieces(student, teacher, draw(5))
    assert losses.shape == entropies.shape == (0,)
    losses.sum().backward()
    assert torch.count_nonzero(prototypes.grad) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_promoted_and_gradients_come_back_as_they_left(dtype: torch.dtype) -> None:
    teacher, masses, _ = teacher_of(9, 5, 3)
    embedded, rows = directions(9, 3).to(dtype).requires_grad_(), directions(5, 3).float()
    side = teacher._replace(embedded=teacher.embedded.to(dtype), prototypes=teacher.prototypes.float())
    losses, _ = masked_patch_loss_in_pieces(PatchSide(embedded, rows, WARM), side, masses.float())
    assert losses.dtype == torch.float32
    losses.sum().backward()
    assert embedded.grad.dtype == dtype


# torch.compile itself looks at the gradient of what comes out of the first part.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiler_does_not_see_into_pieces() -> None:
    teacher, masses, logits = teacher_of(6, 5, 3)
    rows, targets = directions(5, 3), assignment(logits, COLD, masses)
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op.startswith("call"))
        return graph.forward

    compiled = torch.compile(
        lambda x: masked_patch_loss_in_pieces(PatchSide(2 * x, rows, WARM), teacher, masses, at_once=10)[0] + 1,
        backend=backend,
    )
    agree(compiled, lambda x: masked_patch_loss(2 * x @ rows.T, targets, WARM) + 1, directions(6, 3))
    assert {name.strip("<>").split()[-1] for name in seen} == {"mul", "add"}, "what is around it is compiled, no more"


def test_the_sums_have_one_order() -> None:
    """The same inputs give the same bits, whatever ran in between."""
    teacher, masses, _ = teacher_of(9, 5, 3)
    loss = lambda x, rows: masked_patch_loss_in_pieces(PatchSide(x, rows, WARM), teacher, masses, at_once=10)[0]  # noqa: E731
    first, again = (value_and_gradients(loss, [directions(9, 3), directions(5, 3, seed=1)]) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert all(torch.equal(one, other) for one, other in zip(first[1], again[1], strict=True))


@pytest.mark.parametrize("at_once", [10, 99])
def test_logits_that_are_one_piece_are_made_once_for_all_rounds(at_once: int) -> None:
    teacher, _, _ = teacher_of(9, 7, 3)
    parts = logit_parts(teacher.embedded, teacher.prototypes, at_once=at_once)
    first, second = list(parts()), list(parts())
    assert len(first) == (1 if at_once == 99 else 9)
    assert (first[0] is second[0]) == (at_once == 99)
    anew = prototype_masses(lambda: logit_pieces(teacher.embedded, teacher.prototypes, at_once=at_once), COLD, 3)
    assert torch.equal(prototype_masses(parts, COLD, 3), anew)
    assert torch.equal(prototype_masses(parts, COLD, 3), anew), "they are not changed"
