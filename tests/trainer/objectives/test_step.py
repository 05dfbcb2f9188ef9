"""One step of the whole objective: its terms from their definitions, and one gradient however the batch is cut."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.cells import draw_kept
from synfarm_trainer.data.cropids import CropIds
from synfarm_trainer.losses.sinkhorn import assignment, prototype_masses
from synfarm_trainer.models.heads import PatchHead
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.objectives.protocol import StepTerms
from synfarm_trainer.objectives.synclr.networks import Networks, build_networks
from synfarm_trainer.objectives.synclr.step import accumulate_gradients
from synfarm_trainer.ranks import Ranks

CAPTIONS, VIEWS, LOCAL = 6, 2, 2
IMAGES = CAPTIONS * VIEWS
Gradients = Callable[..., tuple[dict[str, Tensor], StepTerms]]
FULL: dict[str, object] = {
    "data.captions_per_batch": CAPTIONS,
    "data.views": VIEWS,
    "local_crops.count": LOCAL,
    "local_crops.size": 8,
    "model.drop_path": 0.4,
    "objective.local_weight": 0.7,
    "objective.ibot_weight": 1.3,
    "objective.prototypes": 10,
    "objective.patch_hidden": 16,
    "objective.patch_bottleneck": 8,
}


def networks_of(config: TrainConfig) -> Networks:
    networks = build_networks(config, seed=3)
    networks.student.double()
    networks.teacher.double()
    with torch.no_grad():
        for parameter in networks.teacher.parameters():
            parameter.mul_(1.1)
    return networks


def make_batch(config: TrainConfig) -> TensorBatch:
    generator = torch.Generator().manual_seed(0)

    def pixels(count: int, size: int) -> Tensor:
        return torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)

    def kept(crops: list[int]) -> Tensor | None:
        """Drawn as the loader does: the kept share of every cell is the same, so that micro-batches scale alike."""
        index, k = np.arange(CAPTIONS).repeat(VIEWS), np.tile(np.arange(VIEWS), CAPTIONS)
        ids = CropIds.of(np.ones(IMAGES, dtype=np.int64), index, k, crops)
        drawn = draw_kept(config, 1, 0, ids, config.cell_images * len(crops))
        return None if drawn is None else torch.from_numpy(drawn)

    masks = torch.zeros(IMAGES, config.patches, dtype=torch.bool)
    for image, tokens in ((0, 2), (3, 1), (4, 3), (9, 2), (10, 1), (7, 2)):
        masks[image, torch.randperm(config.patches, generator=generator)[:tokens]] = True
    return TensorBatch(
        pixels=pixels(IMAGES, config.augment.size),
        labels=torch.arange(CAPTIONS).repeat_interleave(VIEWS) * 5 + 2,
        local_pixels=pixels(IMAGES * LOCAL, 8),
        masks=masks,
        kept=kept([0]),
        local_kept=kept([1, 2]),
    )


@pytest.fixture
def config(small_config: Callable[..., TrainConfig]) -> TrainConfig:
    return small_config({**FULL, "data.cell_captions": 1})


@pytest.fixture
def gradients(on_ranks: Callable[..., Any]) -> Gradients:
    """(config, batch, micro, world, make) to the gradient by name and the terms, both summed over ranks."""

    def found(
        config: TrainConfig,
        batch: TensorBatch,
        *,
        micro: int = IMAGES,
        world: int = 1,
        make: Callable[[TrainConfig], Networks] = networks_of,
    ) -> tuple[dict[str, Tensor], StepTerms]:
        share = len(batch) // world

        def rank(ranks: Ranks) -> tuple[Networks, StepTerms]:
            networks = make(config)  # every rank has networks of its own
            part = batch.part(ranks.rank * share, (ranks.rank + 1) * share)
            return networks, accumulate_gradients(
                networks, part, ranks, config.objective, micro_crops=micro, patch_temperature=0.05
            )

        done = on_ranks(world, rank)
        total: dict[str, Tensor] = {}
        for networks, _ in done:
            assert all(p.grad is None for p in networks.teacher.parameters())
            for name, parameter in networks.student.named_parameters():
                assert parameter.grad is not None, name
                total[name] = total.get(name, torch.zeros_like(parameter)) + parameter.grad
        losses = {name: sum(terms.losses[name] for _, terms in done) for name in done[0][1].losses}
        return total, replace(done[0][1], losses=losses)

    return found


def cross_entropy(anchor: Tensor, keys: list[Tensor], positive: list[bool], temperature: float) -> Tensor:
    logits = torch.stack([anchor @ key for key in keys]) / temperature
    return -(logits.log_softmax(dim=0)[torch.tensor(positive)]).mean()


def by_definition(config: TrainConfig, batch: TensorBatch, networks: Networks) -> dict[str, Tensor]:
    """The three terms as the paper writes them, crop by crop."""
    student, teacher, objective = networks.student, networks.teacher, config.objective
    whole, small = normalise(batch.pixels, torch.float64), normalise(batch.local_pixels, torch.float64)
    with torch.no_grad():
        keys, _ = teacher(whole, None)
        hidden = teacher.backbone.tokens(whole)[:, 1:]
        logits = teacher.patch_head(hidden[batch.masks])
        targets = assignment(logits, 0.05, prototype_masses(lambda: [logits], 0.05, 3))
    anchors, _ = student(whole, batch.masks, batch.kept)
    tokens = student.backbone.tokens(whole, masks=batch.masks, mask_token=student.mask_token, kept=batch.kept)[:, 1:]
    of_locals, _ = student(small, None, batch.local_kept)
    labels = batch.labels.tolist()

    contrastive = []
    for i, anchor in enumerate(anchors):
        others = [j for j in range(IMAGES) if j != i]
        positive = [labels[j] == labels[i] for j in others]
        contrastive.append(cross_entropy(anchor, [keys[j] for j in others], positive, objective.temperature))
    local = []
    for i, anchor in enumerate(of_locals):
        positive = [label == labels[i // LOCAL] for label in labels]
        local.append(cross_entropy(anchor, list(keys), positive, objective.temperature))
    images, place = [], 0
    for i in range(IMAGES):
        count = int(batch.masks[i].sum())
        if count:
            predicted = (student.patch_head(tokens[i][batch.masks[i]]) / objective.student_temperature).log_softmax(
                dim=1
            )
            images.append(-(targets[place : place + count] * predicted).sum(dim=1).mean())
            place += count
    return {
        "contrastive": torch.stack(contrastive).mean(),
        "contrastive_local": torch.stack(local).mean(),
        "ibot": torch.stack(images).mean(),
    }


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        # timm resamples positions for local crops in float32.
        rtol, atol = (1e-5, 1e-5) if name.endswith("pos_embed") else (1e-9, 1e-12)
        assert torch.allclose(first[name], second[name], rtol=rtol, atol=atol), name


def test_terms_and_gradient_are_those_of_the_definitions(gradients: Gradients, config: TrainConfig) -> None:
    batch, networks = make_batch(config), networks_of(config)
    terms = by_definition(config, batch, networks)
    (terms["contrastive"] + 0.7 * terms["contrastive_local"] + 1.3 * terms["ibot"]).backward()
    expected = {name: p.grad for name, p in networks.student.named_parameters()}
    found, step = gradients(config, batch)
    assert step.weights == {"contrastive": 1.0, "contrastive_local": 0.7, "ibot": 1.3}
    for name, term in terms.items():
        assert float(step.losses[name]) == pytest.approx(term.item(), rel=1e-10)
    same(found, expected)


@pytest.mark.parametrize("micro", [2, 6, 10])
def test_micro_batches_add_up_to_the_gradient_of_the_whole(
    gradients: Gradients, config: TrainConfig, micro: int
) -> None:
    batch = make_batch(config)
    whole, terms = gradients(config, batch)
    found, cut = gradients(config, batch, micro=micro)
    same(found, whole)
    for name in terms.losses:
        assert float(cut.losses[name]) == pytest.approx(float(terms.losses[name]), rel=1e-12)


def test_no_logits_of_all_masked_tokens_are_made(
    gradients: Gradients, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens x prototypes would be hundreds of gigabytes in the paper's sizes: both networks' come in pieces."""

    def whole(*_: object) -> Tensor:
        raise AssertionError("tokens x prototypes at once")

    monkeypatch.setattr(PatchHead, "compare", whole)
    gradients(config, make_batch(config), micro=2)


@pytest.mark.parametrize(("world", "micro"), [(2, IMAGES), (3, 2)])
def test_ranks_share_the_gradient_of_the_whole(
    gradients: Gradients, config: TrainConfig, world: int, micro: int
) -> None:
    batch = make_batch(config)
    whole, _ = gradients(config, batch)
    found, _ = gradients(config, batch, world=world, micro=micro)
    same(found, whole)


def test_the_teacher_sees_images_whole_and_repeated_local_crops_change_nothing(
    gradients: Gradients, config: TrainConfig
) -> None:
    batch = replace(make_batch(config), kept=None, local_kept=None)
    networks = networks_of(config)
    keys = networks.teacher(normalise(batch.pixels, torch.float64), batch.places)[0]
    others = replace(batch, masks=~batch.masks).places
    assert torch.equal(keys, networks.teacher(normalise(batch.pixels, torch.float64), others)[0])
    twice = replace(batch, local_pixels=batch.local_pixels.repeat_interleave(2, dim=0))
    first, second = gradients(config, batch)[1], gradients(config, twice)[1]
    assert float(first.losses["contrastive_local"]) == pytest.approx(
        float(second.losses["contrastive_local"]), rel=1e-12
    )


def test_teacher_and_student_see_the_same_pixels(config: TrainConfig, gradients: Gradients) -> None:
    """Pitfall 26: a crop of its own for the teacher would be a second augmentation that the method does not have."""
    batch, networks = make_batch(config), networks_of(config)
    seen: dict[str, list[str]] = {"student": [], "teacher": []}

    def note(name: str) -> Callable[[torch.nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs[0].shape[-1] == config.augment.size:
                seen[name] += [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in inputs[0]]

        return hook

    networks.student.register_forward_pre_hook(note("student"))
    networks.teacher.register_forward_pre_hook(note("teacher"))
    gradients(config, batch, micro=6, make=lambda _: networks)
    assert seen["student"] == seen["teacher"]
    assert len(set(seen["student"])) == IMAGES


def test_only_masked_positions_get_a_gradient_from_ibot(config: TrainConfig) -> None:
    batch, student = make_batch(config), networks_of(config).student
    seen: list[Tensor] = []
    student.patch_head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    _, predicted = student(normalise(batch.pixels, torch.float64), batch.masks, batch.kept, places=batch.places)
    student.patch_head(predicted)
    assert len(seen[0]) == int(batch.masks.sum()), "the head never sees other tokens"


def test_a_term_without_weight_costs_nothing(gradients: Gradients, small_config: Callable[..., TrainConfig]) -> None:
    bare = small_config({**FULL, "objective.local_weight": 0.0, "objective.ibot_weight": 0.0, "model.drop_path": 0.0})
    assert (bare.local_count, bare.masked_tokens_of_cell) == (0, ())
    networks = networks_of(bare)
    names = [name for name, _ in networks.student.named_parameters()]
    assert not any(name.startswith(("patch_head", "mask_token")) for name in names)
    batch = replace(make_batch(bare), local_pixels=None, masks=None, kept=None, local_kept=None)
    _, terms = gradients(bare, batch)
    assert list(terms.losses) == ["contrastive"]
    assert all(name.startswith("key_") for name in terms.monitors)


def test_monitors_tell_a_collapse(gradients: Gradients, config: TrainConfig) -> None:
    batch = make_batch(config)
    healthy = gradients(config, batch)[1].monitors
    assert healthy["mask_share"] == pytest.approx(11 / (IMAGES * config.patches))
    assert healthy["target_entropy"] < 0.9
    flat = replace(batch, pixels=torch.full_like(batch.pixels, 100))

    def collapsed(config: TrainConfig) -> Networks:
        networks = networks_of(config)
        with torch.no_grad():
            networks.teacher.backbone.pos_embed.zero_()
        return networks

    told = gradients(config, flat, make=collapsed)[1].monitors
    assert told["key_spread"] < 1e-6 < 0.1 < healthy["key_spread"]
    assert told["patch_spread"] < 1e-6 < 0.1 < healthy["patch_spread"]
    assert told["target_entropy"] == pytest.approx(1, abs=1e-6)
