"""What a step must compute, in floating-point operations, from the real modules and the counts of the configuration.

Counted are matrix products, m x k with k x n as 2 m n k:

    linear layer             2 x its weights, for each row that goes through it
    patch embedding          2 x its weights, for each patch
    attention                4 t^2 a for each crop of t tokens: scores and sums, a the width of all heads together
    prototypes               2 x their numbers, for each token that is compared with them
    contrast                 2 d for each pair of an anchor and a key of d numbers

once forward, and twice more on the way back: for the layer's input and for its weights. On the way back the patch
embedding has no input to learn, and keys of a teacher take no gradient: they count once. The teacher's pass counts
forward alone, over global crops. Masked patches count where they are: only they go through patch heads; crops that
stochastic depth takes out of a branch, and patches that MAE hides from its encoder, are left out.

This is the work of the method and not of the machine: what is computed again to save memory (recompute, logits in
pieces, features passed twice in micro-batches), Sinkhorn, norms, softmax and the optimiser do not count. So a step that
computes more in the same time has no better MFU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from synfarm_trainer.config import TrainConfig
from synfarm_trainer.models.heads import PatchHead
from synfarm_trainer.objectives.protocol import Objective

__all__ = ["backbone_flops", "row_flops", "step_flops"]

_FORWARD, _ONE_SIDED, _LEARNS = 1, 2, 3
"""Products: forward alone; and back for one factor; and back for both."""


def row_flops(*parts: nn.Module) -> float:
    """Forward, of one row through all linear layers and prototypes of ``parts``."""
    total = 0
    for part in parts:
        for module in part.modules():
            if isinstance(module, nn.Linear):
                total += 2 * module.weight.numel()
            elif isinstance(module, PatchHead):
                total += 2 * module.prototypes.numel()
    return float(total)


def backbone_flops(
    backbone: Any, crops: int, patches: int, *, seen: int = 0, kept: tuple[float, ...] = (), learns: bool
) -> float:
    """Of ``crops`` crops of ``patches`` patches.

    Args:
        seen: patches of a crop that go through the blocks; 0 for all.
        kept: by block, the share of crops that goes through its branches; empty for all.
        learns: forward and back; else forward alone.
    """
    tokens = (seen or patches) + backbone.num_prefix_tokens
    embedding = backbone.patch_embed.proj.weight
    # A patch embedding's input is data; one that stands still costs nothing on the way back.
    times = _ONE_SIDED if learns and embedding.requires_grad else _FORWARD
    total: float = times * 2.0 * embedding.numel() * patches * crops
    for number, block in enumerate(backbone.blocks):
        share = kept[number] if kept else 1.0
        total += (_LEARNS if learns else _FORWARD) * share * crops * _block(block, tokens)
    return total


def _block(block: nn.Module, tokens: int, width: int = 0) -> float:
    """Forward, of one crop. ``width``: of all heads of its attention together, where it does not say so itself."""
    parts: Any = block
    return float(tokens * row_flops(block) + 4.0 * tokens**2 * (width or parts.attn.attn_dim))


@dataclass(frozen=True, slots=True)
class _Step:
    """The networks and the counts of one step over the global batch."""

    config: TrainConfig
    student: Any
    teacher: Any

    @property
    def images(self) -> int:
        return self.config.data.captions_per_batch * self.config.data.views

    @property
    def crops(self) -> int:
        """Global ones."""
        return self.images * self.config.data.crops

    @property
    def local(self) -> int:
        return self.images * self.config.local_count

    @property
    def masked(self) -> int:
        """Patches."""
        cells = self.config.data.captions_per_batch // self.config.data.cell_captions
        return cells * sum(self.config.masked_tokens_of_cell)

    def backbones(self) -> float:
        """The student's with global and local crops, the teacher's with global ones."""
        config = self.config
        total = self._learning(self.crops, config.patches, config.cell_images)
        if self.local:
            small = (config.local_crops.size // config.model.patch) ** 2
            in_cell = config.data.cell_captions * config.data.views * config.local_count
            total += self._learning(self.local, small, in_cell)
        if self.teacher is not None:
            total += backbone_flops(self.teacher.backbone, self.crops, config.patches, learns=False)
        return total

    def _learning(self, crops: int, patches: int, in_cell: int) -> float:
        kept = tuple(1 - dropped / in_cell for dropped in self.config.dropped_of_cell(in_cell))
        hidden = self.masked // crops if self.config.objective.name == "mae" else 0
        return backbone_flops(self.student.backbone, crops, patches, seen=patches - hidden, kept=kept, learns=True)

    def head(self, name: str, rows: int, seen: int) -> float:
        """Of the student with ``rows`` rows, and of the teacher with ``seen``."""
        learnt = _LEARNS * rows * row_flops(getattr(self.student, name))
        return float(learnt + (_FORWARD * seen * row_flops(getattr(self.teacher, name)) if seen else 0.0))


def _synclr(step: _Step) -> float:
    anchors = step.crops + step.local
    total = step.head("projector", anchors, step.crops) + step.head("predictor", anchors, 0)
    width: int = step.config.objective.head_out  # type: ignore[attr-defined]
    total += _ONE_SIDED * 2.0 * anchors * step.crops * width
    return total + (step.head("patch_head", step.masked, step.masked) if step.masked else 0.0)


def _live_contrast(step: _Step) -> float:
    width: int = step.config.objective.head_out  # type: ignore[attr-defined]
    return step.head("projector", step.crops, 0) + _LEARNS * 2.0 * step.crops**2 * width


def _moco(step: _Step) -> float:
    width: int = step.config.objective.head_out  # type: ignore[attr-defined]
    heads = step.head("projector", step.crops, step.crops) + step.head("predictor", step.crops, 0)
    # A crop meets the keys of everyone's other crop.
    return heads + _ONE_SIDED * 2.0 * step.crops * (step.crops // 2) * width


def _supce(step: _Step) -> float:
    return step.head("classifier", step.crops, 0)


def _distilled(step: _Step) -> float:
    total = step.head("class_head", step.crops + step.local, step.crops)
    return total + (step.head("patch_head", step.masked, step.masked) if step.masked else 0.0)


def _mae(step: _Step) -> float:
    decoder, patches = step.student.decoder, step.config.patches
    seen = step.crops * (patches + 1) - step.masked
    blocks = sum(_block(block, patches + 1) for block in decoder.blocks)
    ends = seen * row_flops(decoder.embed) + step.masked * row_flops(decoder.predict)
    return float(_LEARNS * (ends + step.crops * blocks))


def _clip(step: _Step) -> float:
    texts, student = step.config.data.captions_per_batch, step.student
    length, width = student.text.positions.shape
    tower = texts * sum(_block(block, length, width) for block in student.text.blocks)
    ends = step.crops * row_flops(student.image_projection) + texts * row_flops(student.text_projection)
    # Each direction has products of its own.
    contrast = 2 * 2.0 * step.crops * texts * student.image_projection.out_features
    return float(_LEARNS * (tower + ends + contrast))


_HEADS: Mapping[str, Callable[[_Step], float]] = MappingProxyType(
    {
        "synclr": _synclr,
        "stablerep": _live_contrast,
        "simclr": _live_contrast,
        "supce": _supce,
        "moco_v3": _moco,
        "mae": _mae,
        "dino": _distilled,
        "ibot": _distilled,
        "dinov2": _distilled,
        "clip": _clip,
    }
)


def step_flops(config: TrainConfig, objective: Objective) -> float:
    """Of one step over the global batch: all networks that its objective runs, and its heads and terms."""
    step = _Step(config, objective.student, objective.teacher)
    return step.backbones() + _HEADS[config.objective.name](step)
