"""The same objective from lightly's parts, as near as they come (lightly 1.6, extra ``bench``).

Its masked ViT around timm's, its projection heads with our norms, DINOv2's head, SwAV's Sinkhorn and IBOTPatchLoss, its
momentum update. Where they differ from SynCLR:

- There is no multi-positive loss. NT-Xent takes its place, once for each image of the caption that is a positive: it is
  the nearest, and another function (both sides are anchors, a pair's other positives are negatives).
- IBOTPatchLoss divides by all images, SynCLR by the masked ones: its weight is scaled. It centers: the logarithms of
  Sinkhorn's targets go in, and the center stays 0.
- Stochastic depth is timm's, which draws for itself; so losses are compared with all branches on.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from itertools import pairwise

import torch
from step_setting import Setting
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from synfarm_trainer.models.vit import normalise, timm_arguments
from synfarm_trainer.objectives.batch import TensorBatch
from synfarm_trainer.schedules import teacher_temperature

__all__ = ["LightlyStep", "installed"]


def installed() -> bool:
    return find_spec("lightly") is not None


def _mlp(sizes: list[int]) -> nn.Module:
    """Our projector: linear, LayerNorm, GELU; the last layer without bias, and a bare LayerNorm."""
    from lightly.models.modules.heads import ProjectionHead

    *hidden, (width, out) = pairwise(sizes)
    blocks = [(a, b, nn.LayerNorm(b), nn.GELU(), True) for a, b in hidden]
    head: nn.Module = ProjectionHead([*blocks, (width, out, nn.LayerNorm(out, elementwise_affine=False), None, False)])
    return head


class Network(nn.Module):
    def __init__(self, setting: Setting, drop_path: float) -> None:
        from lightly.models.modules import DINOv2ProjectionHead, MaskedVisionTransformerTIMM

        super().__init__()
        config, section = setting.config, setting.section
        vit = VisionTransformer(
            **timm_arguments(config.model, config.augment.size), weight_init="skip", drop_path_rate=drop_path
        )
        self.backbone = MaskedVisionTransformerTIMM(vit, weight_initialization="skip", pos_embed_initialization="skip")
        width, hidden, out = config.model.width, section.head_hidden, section.head_out
        self.projector, self.predictor = _mlp([width, hidden, hidden, out]), _mlp([out, hidden, out])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch, about the weight norm that lightly uses
            self.patch_head = DINOv2ProjectionHead(
                width, section.patch_hidden, section.patch_bottleneck, section.prototypes
            )

    @torch.no_grad()
    def load(self, ours: nn.Module) -> None:
        """The trainer's weights of student or teacher."""
        theirs = ours.state_dict()

        def part(prefix: str, renamed: str = "") -> dict[str, Tensor]:
            return {renamed + k.removeprefix(prefix): v for k, v in theirs.items() if k.startswith(prefix)}

        self.backbone.vit.load_state_dict(part("backbone."))
        self.projector.load_state_dict(part("projector.", "layers."))
        if predictor := part("predictor.", "layers."):
            self.predictor.load_state_dict(predictor)
            self.backbone.mask_token.copy_(theirs["mask_token"][None])
        self.patch_head.layers.load_state_dict(part("patch_head.mlp."))
        self.patch_head.last_layer.weight_g.copy_(theirs["patch_head.gain"])
        self.patch_head.last_layer.weight_v.copy_(theirs["patch_head.prototypes"])

    def tokens(self, images: Tensor, masks: Tensor | None) -> Tensor:
        whole = None if masks is None else functional.pad(masks, (1, 0))  # the class token is never masked
        found: Tensor = self.backbone.encode(images, mask=whole)
        return found


class LightlyStep:
    name = "lightly"

    def __init__(self, setting: Setting, student: nn.Module, teacher: nn.Module) -> None:
        from lightly.loss import IBOTPatchLoss, NTXentLoss

        self._setting, section = setting, setting.section
        self.student = Network(setting, setting.config.model.drop_path).to(setting.device)
        self.teacher = Network(setting, 0.0).to(setting.device)
        self.student.load(student)
        self.teacher.load(teacher)
        self.teacher.requires_grad_(False)
        self.optimizer = setting.adamw(self.student)
        self._contrast = NTXentLoss(section.temperature)
        patches = IBOTPatchLoss(section.prototypes, student_temp=section.student_temperature, center_momentum=1.0)
        self._patches = patches.to(setting.device)

    def losses(self, batch: TensorBatch) -> dict[str, Tensor]:
        from lightly.loss.swav_loss import sinkhorn

        setting, section = self._setting, self._setting.section
        assert batch.local_pixels is not None
        assert batch.masks is not None
        whole, small, masks = normalise(batch.pixels), normalise(batch.local_pixels), batch.masks
        temperature = teacher_temperature(0, section)
        with setting.autocast():
            with torch.no_grad():
                tokens = self.teacher.tokens(whole, None)
                keys = self.teacher.projector(tokens[:, 0])
                seen = self.teacher.patch_head(tokens[:, 1:][masks])
            tokens = self.student.tokens(whole, masks)
            anchors = self.student.predictor(self.student.projector(tokens[:, 0]))
            predicted = self.student.patch_head(tokens[:, 1:][masks])
            local_classes = self.student.tokens(small, None)[:, 0]
            of_locals = self.student.predictor(self.student.projector(local_classes))
        targets = sinkhorn(seen.float(), section.sinkhorn_rounds, temperature)
        side = int(masks.shape[1] ** 0.5)
        ibot = self._patches(targets.log() * temperature, predicted.float(), masks.view(-1, side, side), temperature)
        views, local = setting.config.data.views, len(small) // len(whole)
        by_caption = keys.float().view(-1, views, keys.shape[1])
        # The k-th other image of the caption; for local crops the image itself is one too.
        others = [by_caption.roll(-shift, dims=1).flatten(0, 1) for shift in range(views)]
        pairs = [self._contrast(anchors.float(), other) for other in others[1:]]
        of_crops = of_locals.float().view(len(whole), local, -1).unbind(dim=1)
        local_pairs = [self._contrast(crop, other) for crop in of_crops for other in others]
        return {
            "contrastive": torch.stack(pairs).mean(),
            "contrastive_local": torch.stack(local_pairs).mean(),
            "ibot": ibot * len(masks) / masks.any(dim=1).sum(),
        }

    def step(self, batch: TensorBatch) -> dict[str, Tensor]:
        from lightly.models.utils import update_momentum

        setting, section = self._setting, self._setting.section
        losses = self.losses(batch)
        weights = {"contrastive": 1.0, "contrastive_local": section.local_weight, "ibot": section.ibot_weight}
        torch.stack([weight * losses[name] for name, weight in weights.items()]).sum().backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), setting.config.optim.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for part in ("backbone", "projector", "patch_head"):
            update_momentum(getattr(self.student, part), getattr(self.teacher, part), setting.momentum)
        return {name: loss.detach() for name, loss in losses.items()}
