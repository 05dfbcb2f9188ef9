"""Patch features as a picture: the foreground's main axes as colours (paper, figure 5; method section 5.6)."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from synfarm_trainer.models.block_passes import BlockPasses
from synfarm_trainer.models.vit import Backbone, normalise

__all__ = ["COLUMNS", "GAP", "TILE", "contact_sheet", "patch_features", "pca_colours"]

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

COLUMNS = ("image", "untrained", "trained")
TILE, GAP = 96, 12
"""Pixels of a tile's side, and between the triples of a sheet."""


@torch.no_grad()
def patch_features(backbone: Backbone, pixels: Pixels, *, batch: int = 16) -> Floats:
    """(n, H, W, 3) bytes to (n, H / patch, W / patch, width); the module's mode is put back.

    Blocks run as they are written: shapes that training does not have would make a compiler build other graphs.
    """
    training, passes = backbone.training, backbone.passes
    backbone.eval()
    backbone.passes = BlockPasses()
    pieces = (torch.from_numpy(pixels[i : i + batch]).to(backbone.device) for i in range(0, len(pixels), batch))
    parts = [backbone.tokens(normalise(piece))[:, 1:] for piece in pieces]
    backbone.train(training)
    backbone.passes = passes
    tokens = torch.cat(parts).double().cpu().numpy()
    patch = backbone.patch_embed.patch_size
    rows, columns = pixels.shape[1] // patch[0], pixels.shape[2] // patch[1]
    return np.asarray(tokens.reshape(len(pixels), rows, columns, -1))


def _scores(features: Floats, count: int) -> Floats:
    """(m, width) to (m, count): along the main axes of the centred features; each axis' largest entry is positive."""
    centred = features - features.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :count]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return np.asarray(centred @ (axes * np.where(largest < 0, -1.0, 1.0)))


def pca_colours(features: Floats, threshold: float = 0.0) -> Pixels:
    """(n, h, w, width) of a set of images that belong together, width at least 3, to (n, h, w, 3) colours.

    First the foreground: patches above ``threshold`` on the set's first component, whose sign is turned so that the
    images' borders lie below. Then the foreground's own first three components as red, green and blue, scaled over the
    whole set. The rest is black. Features are centred image by image before that (the paper's are not, as far as is
    known): in a small network a patch tells first of all which image it is of, and whole images would turn black.
    """
    n, h, w, width = features.shape
    flat = (features - features.mean(axis=(1, 2), keepdims=True)).reshape(-1, width)
    first = _scores(flat, 1).reshape(n, h, w)
    border = np.ones((h, w), dtype=np.bool_)
    border[1:-1, 1:-1] = False
    keep = ((first if first[:, border].mean() <= 0 else -first) > threshold).reshape(-1)
    if keep.sum() <= 3:
        keep[:] = True
    parts = _scores(flat[keep], 3)
    low, high = parts.min(axis=0), parts.max(axis=0)
    colours = np.zeros((len(flat), 3), dtype=np.uint8)
    colours[keep] = np.rint(255 * (parts - low) / np.maximum(high - low, 1e-12)).astype(np.uint8)
    return colours.reshape(n, h, w, 3)


def contact_sheet(rows: Sequence[Sequence[Sequence[Pixels]]]) -> bytes:
    """A PNG: a row for each set, in it a group of tiles side by side for each image; the gaps are transparent."""
    group = TILE * len(COLUMNS) + GAP
    size = (group * max(len(row) for row in rows) - GAP, (TILE + GAP) * len(rows) - GAP)
    sheet = Image.new("RGBA", size, (0, 0, 0, 0))
    for y, row in enumerate(rows):
        for x, tiles in enumerate(row):
            for place, tile in enumerate(tiles):
                # Pictures are smoothed, patches stay squares.
                how = Image.Resampling.NEAREST if place else Image.Resampling.BICUBIC
                resized = Image.fromarray(tile).resize((TILE, TILE), how)
                sheet.paste(resized, (group * x + TILE * place, (TILE + GAP) * y))
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()
