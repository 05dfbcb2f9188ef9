"""What evaluations take of an image."""

from __future__ import annotations

import numpy as np
import torch

from synfarm_trainer.evals.report import features
from synfarm_trainer.models.vit import MEAN, STD, build_vit, init_parameters
from synfarm_trainer.presets import resolve


def test_30_features_are_one_vector_an_image_by_the_statistics_of_training() -> None:
    """Pitfall 30: the class token alone, of images standardised as in training, not by CLIP's numbers.

    That they go with the weights: ``test_a_run_leaves_metrics_checkpoints_evals_and_an_export_that_timm_loads``.
    """
    config = resolve("tiny")
    backbone = build_vit(config.model, config.augment.size)
    init_parameters(backbone, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
    found = features(backbone, pixels, batch=2)
    assert found.shape == (5, config.model.width)
    assert ([*MEAN], [*STD]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    standard = (pixels / 255.0 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    with torch.no_grad():
        tokens = backbone.eval().forward_features(torch.from_numpy(standard).float().permute(0, 3, 1, 2))
    torch.testing.assert_close(torch.from_numpy(found), tokens[:, 0], rtol=1e-4, atol=1e-5)
