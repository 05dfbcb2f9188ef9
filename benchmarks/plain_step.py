"""SynCLR's step as one would write it by hand in an afternoon: what `bench_step.py` compares the trainer with.

A plain ViT with torch's attention, one pass for each crop size, stochastic depth by a factor on every row, the patch
head on all patches of the masked pass, whole logits for contrast and prototypes, Sinkhorn and Knopp as published, fused
AdamW where there is a GPU. Parameters have the trainer's names, so that its weights can be loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from step_setting import Setting
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn import functional

from synfarm_trainer.config import SynclrConfig
from synfarm_trainer.models.heads import mlp_head
from synfarm_trainer.models.vit import normalise
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.schedules import teacher_temperature

__all__ = ["PlainStep"]


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        found: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        return found


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return found


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width, heads), Mlp(width, hidden)

    def forward(self, x: Tensor, factors: Tensor | None) -> Tensor:
        """``factors`` (n, 2): of each row's two branches, 0 where it is dropped."""
        if factors is None:
            x = x + self.attn(self.norm1(x))
            return x + self.mlp(self.norm2(x))
        x = x + factors[:, 0, None, None] * self.attn(self.norm1(x))
        return x + factors[:, 1, None, None] * self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)


class Vit(nn.Module):
    def __init__(self, setting: Setting) -> None:
        super().__init__()
        model = setting.config.model
        self.patch_embed = PatchEmbed(model.width, model.patch)
        self.cls_token = nn.Parameter(torch.empty(1, 1, model.width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + setting.config.patches, model.width))
        hidden = int(model.width * model.mlp_ratio)
        self.blocks = nn.ModuleList(Block(model.width, model.heads, hidden) for _ in range(model.depth))
        self.norm = nn.LayerNorm(model.width, eps=1e-6)

    def forward(
        self, images: Tensor, masks: Tensor | None, mask_token: Tensor | None, factors: Tensor | None
    ) -> Tensor:
        """(n, 1 + patches, width); ``factors`` (n, depth, 2)."""
        embedded = self.patch_embed.proj(images)
        x = embedded.flatten(2).transpose(1, 2)
        if masks is not None and mask_token is not None:
            x = torch.where(masks[..., None], mask_token.to(x.dtype), x)
        positions = resample_abs_pos_embed(self.pos_embed, list(embedded.shape[2:]), num_prefix_tokens=1)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + positions
        for number, block in enumerate(self.blocks):
            x = block(x, None if factors is None else factors[:, number])
        found: Tensor = self.norm(x)
        return found


class Head(nn.Module):
    def __init__(self, width: int, section: SynclrConfig) -> None:
        super().__init__()
        hidden, out = section.patch_hidden, section.patch_bottleneck
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, out)
        )
        self.prototypes = nn.Parameter(torch.empty(section.prototypes, out))
        self.gain = nn.Parameter(torch.empty(section.prototypes, 1))

    def forward(self, x: Tensor) -> Tensor:
        directions = self.gain * functional.normalize(self.prototypes, dim=-1)
        return functional.linear(functional.normalize(self.mlp(x), dim=-1), directions)


class Network(nn.Module):
    """The student has a predictor and a mask token, the teacher neither."""

    def __init__(self, setting: Setting, student: bool) -> None:
        super().__init__()
        width, section = setting.config.model.width, setting.section
        self.backbone = Vit(setting)
        self.projector = mlp_head(width, section.head_hidden, section.head_out, hidden_layers=2)
        self.predictor = (
            mlp_head(section.head_out, section.head_hidden, section.head_out, hidden_layers=1) if student else None
        )
        self.patch_head = Head(width, section)
        self.mask_token = nn.Parameter(torch.empty(1, width)) if student else None

    def forward(
        self, images: Tensor, masks: Tensor | None, factors: Tensor | None, patches: Tensor | str | None
    ) -> tuple[Tensor, Tensor | None]:
        """(n, out), normalised; and logits (t, K) of the patches that ``patches`` names or of "all"."""
        tokens = self.backbone(images, masks, self.mask_token, factors)
        found = self.projector(tokens[:, 0])
        if self.predictor is not None:
            found = self.predictor(found)
        logits = None
        if patches is not None:
            of_patches = tokens[:, 1:].flatten(0, 1)
            logits = self.patch_head(of_patches[patches] if isinstance(patches, Tensor) else of_patches)
        return functional.normalize(found, dim=-1), logits


@dataclass
class Losses:
    contrastive: Tensor
    contrastive_local: Tensor
    ibot: Tensor


def sinkhorn(logits: Tensor, temperature: float, rounds: int) -> Tensor:
    scores = (logits.float() / temperature).T
    q = torch.exp(scores - scores.max())
    q /= q.sum()
    for _ in range(rounds):
        q /= q.sum(dim=1, keepdim=True)
        q /= len(q)
        q /= q.sum(dim=0, keepdim=True)
        q /= q.shape[1]
    return (q * q.shape[1]).T


def contrast(anchors: Tensor, keys: Tensor, positive: Tensor, left_out: Tensor | None, temperature: float) -> Tensor:
    logits = anchors.float() @ keys.float().T / temperature
    if left_out is not None:
        logits = logits.masked_fill(left_out, -1e9)
        positive = positive & ~left_out
    target = positive / positive.sum(dim=1, keepdim=True)
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()


class PlainStep:
    """Its own networks with the trainer's weights, its own optimiser."""

    name = "plain"

    def __init__(
        self, setting: Setting, student: nn.Module, teacher: nn.Module, *, compiled: bool, head_on_all: bool = True
    ) -> None:
        """``head_on_all`` False leaves out the head's work on visible patches: for the count of what is needed."""
        self._setting, self._head_on_all = setting, head_on_all
        device = setting.device
        self.student, self.teacher = Network(setting, True).to(device), Network(setting, False).to(device)
        self.student.load_state_dict(student.state_dict())
        self.teacher.load_state_dict(teacher.state_dict())
        self.teacher.requires_grad_(False)
        self._student: nn.Module = torch.compile(self.student, dynamic=False) if compiled else self.student  # type: ignore[assignment]
        self._teacher: nn.Module = torch.compile(self.teacher, dynamic=False) if compiled else self.teacher  # type: ignore[assignment]
        self.optimizer = setting.adamw(self.student)
        names = [name for name, _ in self.teacher.named_parameters()]
        theirs = dict(self.student.named_parameters())
        self._averages = list(self.teacher.parameters()), [theirs[name] for name in names]

    def losses(self, batch: TensorBatch) -> Losses:
        setting, section = self._setting, self._setting.section
        assert batch.local_pixels is not None
        assert batch.masks is not None
        whole, small = normalise(batch.pixels), normalise(batch.local_pixels)
        masked = batch.masks.flatten().nonzero().squeeze(1)
        heads_on = "all" if self._head_on_all else masked
        temperature = teacher_temperature(0, section)
        with setting.autocast():
            with torch.no_grad():
                keys, seen = self._teacher(whole, None, None, heads_on)
            anchors, predicted = self._student(whole, batch.masks, setting.factors(batch.kept), heads_on)
            of_locals, _ = self._student(small, None, setting.factors(batch.local_kept), None)
        if self._head_on_all:
            seen, predicted = seen[masked], predicted[masked]
        targets = sinkhorn(seen, temperature, section.sinkhorn_rounds)
        labels, images = batch.labels, len(batch)
        own = torch.eye(images, dtype=torch.bool, device=labels.device)
        positive = labels[:, None] == labels
        ibot = -(targets * (predicted.float() / section.student_temperature).log_softmax(dim=1)).sum(dim=1)
        weights = (1 / batch.masks.sum(dim=1).clamp(min=1))[:, None].expand_as(batch.masks)[batch.masks]
        return Losses(
            contrast(anchors, keys, positive, own, section.temperature),
            contrast(of_locals, keys, batch.local_labels[:, None] == labels, None, section.temperature),
            (ibot * weights).sum() / batch.masks.any(dim=1).sum(),
        )

    def step(self, batch: TensorBatch) -> dict[str, Tensor]:
        setting, section = self._setting, self._setting.section
        losses = self.losses(batch)
        total = losses.contrastive + section.local_weight * losses.contrastive_local + section.ibot_weight * losses.ibot
        total.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), setting.config.optim.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            averages, current = self._averages
            torch._foreach_lerp_(averages, [p.detach() for p in current], 1 - setting.momentum)
        return {name: value.detach() for name, value in vars(losses).items()}
