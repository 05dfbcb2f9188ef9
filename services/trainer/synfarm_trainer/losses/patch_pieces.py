"""iBOT's loss on masked patches without its tokens x prototypes: in pieces, and again in pieces on the way back.

65,536 prototypes and the 12,544 masked tokens of 256 images are 3.3 GB in float32, and of that size the plain form
holds the teacher's logits and targets and the student's logits, prediction and gradient. A logit is the product of a
token's bottleneck embedding (256 numbers) with a prototype, so both networks' logits can be had again at any time. What
stays of Sinkhorn and Knopp's targets are the two scalings: a number for each prototype and a number for each token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synfarm_trainer.losses.opaque import opaque
from synfarm_trainer.losses.precision import exact_products, precise

__all__ = ["PatchSide", "logit_parts", "logit_pieces", "masked_patch_loss_in_pieces"]

_AT_ONCE = 2**23
"""Logits in a piece: 32 MiB of float32, 128 tokens of the paper's prototypes."""


class PatchSide(NamedTuple):
    """One network's view of the masked tokens, from which its logits can be computed."""

    embedded: Tensor
    """(T, D): the tokens behind the head's bottleneck, normalised."""
    prototypes: Tensor
    """(K, D): what they are compared with, normalised and times their gains."""
    temperature: float


@torch.no_grad()
def logit_pieces(embedded: Tensor, prototypes: Tensor, *, at_once: int = _AT_ONCE) -> Iterator[Tensor]:
    """(t, K) logits of consecutive tokens without gradient, at least one piece, as ``prototype_masses`` reads them.

    Args:
        embedded: (T, D).
        prototypes: (K, D).
        at_once: logits in a piece (a token's at least).
    """
    common = torch.promote_types(precise(embedded).dtype, prototypes.dtype)
    prototypes = prototypes.to(common)
    for piece in torch.split(embedded, _tokens(prototypes, at_once)):
        with exact_products(prototypes):
            yield piece.to(common) @ prototypes.T


def logit_parts(embedded: Tensor, prototypes: Tensor, *, at_once: int = _AT_ONCE) -> Callable[[], Iterable[Tensor]]:
    """The ``parts`` of ``prototype_masses``: made anew for each round, but kept where one piece is all of them."""
    if len(embedded) > _tokens(prototypes, at_once):
        return partial(logit_pieces, embedded, prototypes, at_once=at_once)
    whole = list(logit_pieces(embedded, prototypes, at_once=at_once))
    return lambda: whole


@opaque
def masked_patch_loss_in_pieces(
    student: PatchSide, teacher: PatchSide, masses: Tensor, *, at_once: int = _AT_ONCE
) -> tuple[Tensor, Tensor]:
    """Cross-entropy between the teacher's assignment and the student's prediction (method section 3.6).

    With targets t = softmax(teacher's logits / t_t - masses), a token at a time:

        L = -sum over k of t_k * log softmax(student's logits / t_s)_k

    The same as ``masked_patch_loss(logits, assignment(seen, t_t, masses), t_s)``, in value and in the gradients of the
    student's embeddings and prototypes (and through these of gains), but for the order of sums, which shapes and
    ``at_once`` alone decide. Centered targets instead of Sinkhorn's: ``masses = center / t_t``.

    Args:
        student: takes a gradient.
        teacher: takes none.
        masses: (K,) of :func:`~synfarm_trainer.losses.sinkhorn.prototype_masses`.
        at_once: logits in a piece (a token's at least).

    Returns:
        (T,) losses, and (T,) entropies of the targets in nats without gradient, both of at least float32.
    """
    tensors = (precise(student.embedded), student.prototypes, teacher.embedded, teacher.prototypes, masses)
    common = tensors[0].dtype
    for tensor in tensors:
        common = torch.promote_types(common, tensor.dtype)
    rows = _tokens(student.prototypes, at_once)
    found: tuple[Tensor, Tensor] = _Pieces.apply(
        *(tensor.to(common) for tensor in tensors), student.temperature, teacher.temperature, rows
    )
    return found


class _Pieces(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        student_prototypes: Tensor,
        teacher: Tensor,
        teacher_prototypes: Tensor,
        masses: Tensor,
        student_temperature: float,
        teacher_temperature: float,
        rows: int,
    ) -> tuple[Tensor, Tensor]:
        losses, entropies, predicted_masses, token_masses = (student.new_empty(len(student)) for _ in range(4))
        for start in range(0, len(student), rows):
            cut = slice(start, start + rows)
            scores = _scores(teacher[cut], teacher_prototypes, teacher_temperature).sub_(masses)
            token_masses[cut] = scores.logsumexp(dim=1)
            scores.sub_(token_masses[cut, None])
            targets = scores.exp()
            entropies[cut] = -scores.mul_(targets).sum(dim=1)
            del scores
            logits = _scores(student[cut], student_prototypes, student_temperature)
            predicted_masses[cut] = logits.logsumexp(dim=1)
            losses[cut] = -targets.mul_(logits.sub_(predicted_masses[cut, None])).sum(dim=1)
        ctx.save_for_backward(
            student, student_prototypes, teacher, teacher_prototypes, masses, predicted_masses, token_masses
        )
        ctx.settings = student_temperature, teacher_temperature, rows
        ctx.mark_non_differentiable(entropies)
        return losses, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        student, student_prototypes, teacher, teacher_prototypes, masses, predicted_masses, token_masses = (
            ctx.saved_tensors
        )
        student_temperature, teacher_temperature, rows = ctx.settings
        of_student = torch.empty_like(student) if ctx.needs_input_grad[0] else None
        of_prototypes = torch.zeros_like(student_prototypes) if ctx.needs_input_grad[1] else None
        for start in range(0, len(student), rows):
            cut = slice(start, start + rows)
            logits = _scores(student[cut], student_prototypes, student_temperature)
            pull = logits.sub_(predicted_masses[cut, None]).exp_()
            scores = _scores(teacher[cut], teacher_prototypes, teacher_temperature).sub_(masses)
            pull.sub_(scores.sub_(token_masses[cut, None]).exp_())
            del scores
            pull.mul_(grad[cut, None] / student_temperature)
            with exact_products(pull):
                if of_student is not None:
                    of_student[cut] = pull @ student_prototypes
                if of_prototypes is not None:
                    of_prototypes.addmm_(pull.T, student[cut])
        return of_student, of_prototypes, None, None, None, None, None, None


def _scores(embedded: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    with exact_products(embedded):
        return (embedded @ prototypes.T).div_(temperature)


def _tokens(prototypes: Tensor, at_once: int) -> int:
    return max(1, at_once // len(prototypes))
