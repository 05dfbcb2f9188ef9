"""CLIP's image-text contrast (Radford et al. 2021, section 2.3), for captions with one image or several."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synfarm_trainer.losses.contrast_tiles import multi_positive_loss_in_tiles

__all__ = ["LOG_SCALE_LIMIT", "LOG_SCALE_START", "clamp_log_scale", "clip_loss", "one_way_loss"]

LOG_SCALE_START = math.log(1 / 0.07)
LOG_SCALE_LIMIT = math.log(100)


def clip_loss(images: Tensor, texts: Tensor, image_labels: Tensor, text_labels: Tensor, log_scale: Tensor) -> Tensor:
    """Both directions' mean cross-entropy of s * I T^T with s = exp(log_scale), halved; a number of at least float32.

        L = (mean over images of CE(row) + mean over texts of CE(column)) / 2

    Targets are uniform over what has the same label, so that a caption may come with several images or twice. All
    arguments but labels take a gradient.

    Args:
        images: (N, D), L2-normalised, of the whole global batch.
        texts: (M, D), L2-normalised.
        image_labels, text_labels: (N,), (M,) integers: the caption.
        log_scale: without axes.

    Raises:
        NoPositive: an image without its text or a text without its image.
    """
    rows = one_way_loss(images, texts, image_labels, text_labels, log_scale)
    columns = one_way_loss(texts, images, text_labels, image_labels, log_scale)
    return (rows.mean() + columns.mean()) / 2


def one_way_loss(anchors: Tensor, keys: Tensor, anchor_labels: Tensor, key_labels: Tensor, log_scale: Tensor) -> Tensor:
    """(A,) losses of some anchors of one kind against all keys of the other: a rank's share of one direction."""
    none = torch.full_like(anchor_labels, -1)
    temperature = log_scale.neg().exp()
    return multi_positive_loss_in_tiles(anchors, keys, anchor_labels, key_labels, none, temperature)


@torch.no_grad()
def clamp_log_scale(log_scale: Tensor) -> None:
    """After each step, in place: s stays in 1 to 100."""
    log_scale.clamp_(0, LOG_SCALE_LIMIT)
