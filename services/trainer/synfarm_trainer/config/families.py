"""The named augmentations: what each sets, and the source of each number (method section 3.2).

A family sets how crops look. Their sizes and the number of local crops stay the preset's: those set what a step costs.

- ``synclr-release``: the authors' trainer (SynCLR, ``train_pytorch/dataset/augmentations.py``). Variants A and B by a
  fair coin, as it does with one global crop an image. It cuts from (0.14, 1) where there are no local crops; here that
  is ``augment.scale`` to be named.
- ``paper``: the paper's table 12, StableRep's Downsample and then BYOL's augmentation. Downsample's numbers are those
  of StableRep's trainer, where it belongs to the transform and so is drawn anew for each crop; it goes back to 256
  pixels there, to the image's own size here (the same for the farm's 256-pixel images). BYOL's jitter, gray, blur and
  solarize numbers are the release's, its scale is (0.08, 1). Not BYOL's: the kernel of the blur, 9 as in the release
  (BYOL has 23 for 224 pixels). The paper is silent on local crops; they are the release's.
- ``stablerep``: StableRep's trainer (``main_stablerep.py``): bilinear, saturation 0.4, Pillow's Gaussian blur, no
  variants, no solarize. It has no local crops; where the preset has some they take the release's scale.
- ``stablerep-weak``: its ``--weak_aug``: a crop from (0.5, 1) and nothing else; no flip, no colour, no blur.
- ``dinov2``: DINOv2 (``dinov2/data/augmentations.py``, ``ssl_default_config.yaml``): the release's operations, local
  crops from (0.05, 0.32), and two global transforms of which each is used. There they are the two global crops of an
  image; here a caption's global crops alternate, from a drawn start: its images where each has one crop, and as there
  with ``data.crops`` 2. The rates of the blur are those that
  its transforms name (1, 0.1, local 0.5); its wrapper blurred with 1 - p (method section 7, pitfall 25).

Not as in any source: a crop's box has fractions of pixels and is cut to the image's sides, where torchvision draws
whole pixels and tries again.
"""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_trainer.config.checks import one_of

__all__ = ["FAMILY_SOURCES", "family_fields"]

_RELEASE: Mapping[str, object] = {
    "augment.scale": (0.32, 1.0),
    "augment.ratio": (0.75, 4 / 3),
    "augment.interpolation": "bicubic",
    "augment.downsample": 0.0,
    "augment.downsample_sides": (64, 128),
    "augment.flip": 0.5,
    "augment.jitter": 0.8,
    "augment.brightness": 0.4,
    "augment.contrast": 0.4,
    "augment.saturation": 0.2,
    "augment.hue": 0.1,
    "augment.gray": 0.2,
    "augment.variants": "coin",
    "augment.blur_form": "kernel9",
    "augment.blur_a": 1.0,
    "augment.blur_b": 0.1,
    "augment.solarize_b": 0.2,
    "local_crops.scale": (0.08, 0.32),
    "local_crops.blur": 0.5,
}
_STABLEREP: Mapping[str, object] = {
    **_RELEASE,
    "augment.scale": (0.08, 1.0),
    "augment.interpolation": "bilinear",
    "augment.saturation": 0.4,
    "augment.blur_form": "pillow",
    "augment.blur_a": 0.5,
    "augment.blur_b": 0.5,
    "augment.solarize_b": 0.0,
}
_FAMILIES: Mapping[str, Mapping[str, object]] = {
    "synclr-release": _RELEASE,
    "paper": {**_RELEASE, "augment.scale": (0.08, 1.0), "augment.downsample": 0.05},
    "stablerep": _STABLEREP,
    "stablerep-weak": {
        **_STABLEREP,
        "augment.scale": (0.5, 1.0),
        "augment.flip": 0.0,
        "augment.jitter": 0.0,
        "augment.gray": 0.0,
        "augment.blur_a": 0.0,
        "augment.blur_b": 0.0,
        "local_crops.blur": 0.0,
    },
    "dinov2": {**_RELEASE, "augment.variants": "alternate", "local_crops.scale": (0.05, 0.32)},
}
FAMILY_SOURCES: Mapping[str, str] = {
    "synclr-release": "release: augmentations.py",
    "paper": "paper: table 12, with the numbers of StableRep's and SynCLR's trainers",
    "stablerep": "release: StableRep's main_stablerep.py",
    "stablerep-weak": "release: StableRep's --weak_aug",
    "dinov2": "literature: DINOv2's release (Oquab et al. 2023)",
}
"""Of what a family sets, in a word; the exceptions are told above."""


def family_fields(name: object) -> Mapping[str, object]:
    """What a family sets, by dotted name.

    Raises:
        ValueError: there is no such family.
    """
    one_of(name, tuple(_FAMILIES), "augment.name")
    return _FAMILIES[str(name)]
