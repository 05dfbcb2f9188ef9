"""The pitfalls of method section 7 that concern losses, a test each under its number.

Those of batches: ``tests/trainer/data/test_pitfalls.py``; all: ``docs/pitfalls.md``. Where a test stands elsewhere, it
is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import slow_contrast
import slow_prototypes
import torch
from agreement import directions, draw
from torch import Tensor
from torch.nn.functional import normalize

from synfarm_trainer.config import SynclrConfig
from synfarm_trainer.losses.contrast_tiles import multi_positive_loss_in_tiles
from synfarm_trainer.losses.dino import dino_loss
from synfarm_trainer.losses.ibot import ibot_losses
from synfarm_trainer.losses.masked_patches import image_means, masked_patch_loss
from synfarm_trainer.losses.multi_positive import NoPositive, multi_positive_loss
from synfarm_trainer.losses.patch_pieces import PatchSide, masked_patch_loss_in_pieces
from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses
from synfarm_trainer.objectives.synclr.networks import build_networks
from synfarm_trainer.presets import resolve
from synfarm_trainer.schedules import teacher_temperature

Loss = Callable[..., Tensor]
FORMS = pytest.mark.parametrize("form", [multi_positive_loss, multi_positive_loss_in_tiles])
CAPTIONS, VIEWS, LOCAL = 4, 2, 3
IMAGES = CAPTIONS * VIEWS
LABELS = torch.arange(CAPTIONS).repeat_interleave(VIEWS)
NONE = torch.full((IMAGES,), -1)


def sinkhorn(logits: Tensor, temperature: float = 0.07) -> Tensor:
    return assignment(logits, temperature, prototype_masses(lambda: [logits], temperature, 3))


@FORMS
def test_01_the_mean_over_positives_is_outside_the_logarithm(form: Loss) -> None:
    """By hand, two positives at cosines 1 and 0; with the mean inside it would be log(e + 2) - log((e + 1) / 2)."""
    keys = torch.tensor([[1.0, 0], [0, 1], [0, -1]], dtype=torch.float64)
    loss = form(keys[:1], keys, torch.tensor([0]), torch.tensor([0, 0, 1]), torch.tensor([-1]), 1.0)
    assert loss.item() == pytest.approx(math.log(math.e + 2) - 0.5, rel=1e-14)
    assert loss.item() != pytest.approx(math.log(math.e + 2) - math.log((math.e + 1) / 2), rel=1e-3)


@FORMS
def test_02_the_own_crop_is_neither_positive_nor_candidate(form: Loss) -> None:
    """Whatever the teacher makes of it, the loss is the same; and it alone does not make a batch."""
    anchors, keys, own = directions(IMAGES, 4), directions(IMAGES, 4, seed=1), torch.arange(IMAGES)
    for i in range(IMAGES):
        other = keys.clone()
        other[i] = anchors[i]
        before, after = (form(anchors, x, LABELS, LABELS, own, 0.1) for x in (keys, other))
        assert before[i] == after[i]
    with pytest.raises(NoPositive):
        form(anchors, keys, own, own, own, 0.1)


@FORMS
def test_03_the_own_crop_is_counted_from_the_ranks_first(form: Loss) -> None:
    """Two ranks' shares, each with its offset, are what one rank finds; without it the second rank's differ.

    Real ranks: ``test_two_ranks.py`` and ``tests/trainer/objectives/test_step.py``.
    """
    anchors, keys, own = directions(IMAGES, 4), directions(IMAGES, 4, seed=1), torch.arange(IMAGES)
    whole = form(anchors, keys, LABELS, LABELS, own, 0.1)
    second = slice(IMAGES // 2, IMAGES)
    share = form(anchors[second], keys, LABELS[second], LABELS, own[second], 0.1)
    torch.testing.assert_close(share, whole[second], rtol=1e-12, atol=1e-12)
    wrong = form(anchors[second], keys, LABELS[second], LABELS, own[: IMAGES // 2], 0.1)
    assert not torch.allclose(wrong, whole[second], rtol=1e-3)


@FORMS
def test_04_keys_carry_a_gradient_only_if_they_are_live(form: Loss) -> None:
    """SynCLR's do not, StableRep's do; across ranks: ``test_two_ranks.py``."""
    anchors, keys = directions(IMAGES, 4).requires_grad_(), directions(IMAGES, 4, seed=1)
    form(anchors, keys, LABELS, LABELS, NONE, 0.1).sum().backward()
    dead = anchors.grad.clone()
    assert keys.grad is None
    live = keys.clone().requires_grad_()
    form(anchors, live, LABELS, LABELS, NONE, 0.1).sum().backward()
    torch.testing.assert_close(anchors.grad, 2 * dead)
    assert (live.grad.abs().sum(dim=1) > 0).all()


def test_05_the_student_predicts_and_the_teacher_does_not() -> None:
    """Global and local crops go through projector and predictor, keys through the projector alone."""
    networks = build_networks(resolve("tiny"), seed=1)
    student, teacher = networks.student, networks.teacher
    assert not any("predictor" in name for name, _ in teacher.named_modules())
    for size in (48, 24):
        images = draw(2, 3, size, size).float()
        z = student.backbone.tokens(images)[:, 0]
        torch.testing.assert_close(student(images)[0], normalize(student.predictor(student.projector(z)), dim=-1))
        z = teacher.backbone.tokens(images)[:, 0]
        torch.testing.assert_close(teacher(images, None)[0], normalize(teacher.projector(z), dim=-1))


@FORMS
def test_06_local_crops_are_averaged_and_never_keys(form: Loss) -> None:
    """n equal copies are as one; the step's own: ``test_repeated_local_crops_change_nothing`` in ``test_step.py``."""
    anchors, keys = directions(IMAGES, 4), directions(IMAGES, 4, seed=1)
    one = form(anchors, keys, LABELS, LABELS, NONE, 0.1).mean()
    copies, labels = anchors.repeat_interleave(LOCAL, dim=0), LABELS.repeat_interleave(LOCAL)
    many = form(copies, keys, labels, LABELS, torch.full_like(labels, -1), 0.1).mean()
    torch.testing.assert_close(many, one, rtol=1e-12, atol=1e-12)


@FORMS
def test_07_one_image_a_caption_is_refused_with_the_cure(form: Loss) -> None:
    anchors, own = directions(4, 3), torch.arange(4)
    with pytest.raises(NoPositive, match=r"at least two images of each caption \(data\.views\)"):
        form(anchors, anchors, own, own, own, 0.1)


@FORMS
def test_09_what_a_local_crop_leaves_out_is_its_own_image(form: Loss) -> None:
    """With several images and several local crops the excluded key is given by its place, never guessed from order."""
    anchors, keys = directions(IMAGES * LOCAL, 4), directions(IMAGES, 4, seed=1)
    image = torch.arange(IMAGES).repeat_interleave(LOCAL)
    rest = LABELS[image], LABELS, image, 0.1
    expected = slow_contrast.multi_positive(anchors, keys, *rest)
    torch.testing.assert_close(form(anchors, keys, *rest), expected, rtol=1e-10, atol=1e-10)


@FORMS
def test_10_positives_are_found_anew_at_every_call(form: Loss) -> None:
    """Batches of one size with other patterns of labels; a caption twice in a batch; another number of crops."""
    anchors, keys, own = directions(IMAGES, 4), directions(IMAGES, 4, seed=1), torch.arange(IMAGES)
    for labels in (LABELS, LABELS.roll(1), torch.zeros_like(LABELS), LABELS % 2):
        rest = labels, labels, own, 0.1
        expected = slow_contrast.multi_positive(anchors, keys, *rest)
        torch.testing.assert_close(form(anchors, keys, *rest), expected, rtol=1e-10, atol=1e-10)
    rest = LABELS[:3], LABELS, own[:3], 0.1
    expected = slow_contrast.multi_positive(anchors[:3], keys, *rest)
    torch.testing.assert_close(form(anchors[:3], keys, *rest), expected, rtol=1e-10, atol=1e-10)


def test_11_sinkhorn_shares_prototypes_over_all_ranks_and_stays_finite() -> None:
    """Rows are distributions, columns of near-equal mass; gains of 5 at 0.04 leave float32's exp (125 > 88)."""
    logits = directions(200, 8) @ directions(10, 8, seed=1).T
    targets = sinkhorn(logits)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(200, dtype=torch.float64), rtol=1e-12, atol=0)
    uneven, plain = ((rows.sum(dim=0) / 20 - 1).abs().max() for rows in (targets, (logits / 0.07).softmax(dim=1)))
    assert uneven < 0.4 < 0.6 < plain
    large = (5 * logits).float().requires_grad_()
    seen = sinkhorn(large.detach(), 0.04)
    assert seen.isfinite().all()
    loss = masked_patch_loss(large, seen, 0.1)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert large.grad.isfinite().all()


def test_11_gains_of_five_stay_finite_in_pieces_and_equal_float64() -> None:
    embedded, rows, seen = directions(40, 8), 5 * directions(12, 8, seed=1), directions(40, 8, seed=2)
    masses = prototype_masses(lambda: [seen @ rows.T], 0.04, 3)
    expected, _ = masked_patch_loss_in_pieces(PatchSide(embedded, rows, 0.1), PatchSide(seen, rows, 0.04), masses)
    single = embedded.float().requires_grad_()
    found, entropies = masked_patch_loss_in_pieces(
        PatchSide(single, rows.float(), 0.1), PatchSide(seen.float(), rows.float(), 0.04), masses.float(), at_once=60
    )
    found.sum().backward()
    assert entropies.isfinite().all()
    assert single.grad.isfinite().all()
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_12_rows_that_are_no_tokens_never_enter() -> None:
    """Tokens are packed, so there is no padding; pieces without tokens change nothing.

    A rank without tokens: ``test_a_rank_without_tokens_joins_in_and_changes_nothing`` in ``test_two_ranks.py``.
    """
    logits = draw(6, 5) / 3
    found = prototype_masses(lambda: [logits[:0], logits[:4], logits[4:], logits[6:]], 0.07, 3)
    torch.testing.assert_close(found, prototype_masses(lambda: [logits], 0.07, 3), rtol=1e-12, atol=1e-12)
    assert assignment(logits[:0], 0.07, found).shape == (0, 5)


def test_13_sinkhorn_needs_no_process_group_and_leaves_its_input() -> None:
    assert not torch.distributed.is_initialized()
    logits = draw(6, 5) / 3
    before = logits.clone()
    expected = torch.tensor(slow_prototypes.sinkhorn(logits, 0.07, 3), dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(logits), expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(logits, before)


def test_14_the_divisor_is_a_choice_between_masked_images_and_all() -> None:
    """Half of the images masked: a factor of 2. The published three divisors: ``test_masked_patches.py``."""
    masks = torch.zeros(4, 3, dtype=torch.bool)
    masks[:2, :2] = True
    means = image_means(torch.tensor([1.0, 3.0, 5.0, 7.0]), masks)
    assert means.tolist() == [2.0, 6.0, 0.0, 0.0]
    assert means.sum() / masks.any(dim=1).sum() == 2 * means.mean()


def test_15_each_network_has_its_own_temperature_and_the_teachers_rises_by_steps() -> None:
    """The student's does not touch the targets, the teacher's not the prediction. Schedules: ``test_schedules.py``."""
    student, seen, rows = directions(6, 3), directions(6, 3, seed=1), directions(5, 3, seed=2)
    logits, masses = seen @ rows.T, draw(5) / 9
    for warm, cold in ((0.1, 0.04), (0.1, 0.07), (0.2, 0.04)):
        sides = PatchSide(student, rows, warm), PatchSide(seen, rows, cold)
        targets = (logits / cold - masses).softmax(dim=1)
        expected = slow_prototypes.masked_patches(student @ rows.T, targets, warm)
        torch.testing.assert_close(masked_patch_loss_in_pieces(*sides, masses)[0], expected, rtol=1e-10, atol=1e-10)
    steps = [teacher_temperature(step, SynclrConfig()) for step in (0, 2000, 4000, 9000)]
    assert steps == pytest.approx([0.04, 0.055, 0.07, 0.07])


def test_16_positions_that_are_not_masked_get_no_gradient() -> None:
    """That the teacher sees images whole: ``test_step.py``."""
    patches, targets = draw(2, 3, 4, 6).requires_grad_(), draw(2, 3, 4, 6, seed=1).softmax(dim=-1)
    masks = draw(2, 3, 4, seed=2) > 0
    classes, seen = draw(2, 3, 5), draw(2, 3, 5, seed=1).softmax(dim=-1)
    _, losses = ibot_losses(classes, seen, patches, targets, masks, 0.1)
    losses.sum().backward()
    assert torch.count_nonzero(patches.grad[~masks]) == 0
    assert (patches.grad[masks].abs().sum(dim=-1) > 0).all()


def test_17_an_image_weighs_by_the_tokens_that_are_masked_in_truth() -> None:
    """Block masks miss the requested count: 3, 1 and none of a requested 2 still give each image its plain mean."""
    masks = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)
    assert image_means(torch.tensor([1.0, 2.0, 6.0, 5.0]), masks).tolist() == [3.0, 5.0, 0.0]


@FORMS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_28_half_precision_changes_a_loss_by_less_than_a_hundredth(form: Loss, dtype: torch.dtype) -> None:
    """Features of half precision, and float32 ones in a region of autocast, at temperature 0.08."""
    labels, own = torch.arange(64) // 4, torch.arange(64)
    anchors, keys = directions(64, 256).to(dtype), directions(64, 256, seed=1).to(dtype)
    rest = labels, labels, own, 0.08
    expected = form(anchors.float(), keys.float(), *rest)
    found = form(anchors, keys, *rest)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    leaf = anchors.float().requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        inside = form(leaf, keys.float(), *rest)
        inside.sum().backward()
    assert torch.equal(inside, expected)
    exact = directions(64, 256), directions(64, 256, seed=1)
    torch.testing.assert_close(found.double().mean(), form(*exact, *rest).mean(), rtol=0, atol=1e-2)


def test_28_patch_losses_in_a_region_of_autocast_are_of_full_precision() -> None:
    embedded, rows, seen = (
        directions(9, 32).float(),
        directions(12, 32, seed=1).float(),
        directions(9, 32, seed=2).float(),
    )
    sides, masses = (PatchSide(embedded, rows, 0.1), PatchSide(seen, rows, 0.04)), draw(12).float() / 9
    expected = masked_patch_loss_in_pieces(*sides, masses)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = masked_patch_loss_in_pieces(*sides, masses)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert dino_loss(draw(3, 2, 5).bfloat16(), draw(2, 2, 5).softmax(dim=-1), 0.1).dtype == torch.float64
