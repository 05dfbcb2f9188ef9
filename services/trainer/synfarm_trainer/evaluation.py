"""What is looked at beside the training: frozen features before and after it, patch features at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from synfarm.contracts import layout
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.config import TrainConfig
from synfarm_trainer.data.course import Course
from synfarm_trainer.data.fetch import ShardCache
from synfarm_trainer.data.imageset import ImageSet, choose_rows, distinct_rows, read_images
from synfarm_trainer.data.manifest import Dataset
from synfarm_trainer.data.plan import Plan
from synfarm_trainer.evals.patch_pca import COLUMNS, GAP, TILE, contact_sheet, patch_features, pca_colours
from synfarm_trainer.evals.report import reports
from synfarm_trainer.models.vit import Backbone
from synfarm_trainer.objectives.protocol import Objective, evaluated_network
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.patience import patiently

__all__ = ["Evaluation"]

_MOST_IMAGES = 4
"""Of a caption in the picture of patch features."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Reads the run's own data; its records go to the store."""

    store: ObjectStore
    run: str
    config: TrainConfig
    dataset: Dataset
    plan: Plan | Course
    cache: ShardCache

    def _read(self, rows: list[int], size: int) -> ImageSet:
        return read_images(self.dataset, self.cache, rows, size)

    def frozen_features(self, objective: Objective, step: int) -> Iterator[dict[str, Any]]:
        """The records of ``evals/<step>/``, each written and yielded; none if the configuration asks for none.

        Raises:
            ValueError: nothing is held out.
            DatasetDamaged, StoreError: images cannot be read.
        """
        config, size = self.config.eval, self.config.augment.size
        if not (config.knn or config.linear):
            return
        bank = self._read(choose_rows(self.plan, held_out=False, limit=config.bank_captions), size)
        test = self._read(choose_rows(self.plan, held_out=True, limit=config.test_captions), size)
        common = {"step": step, "network": f"{evaluated_network(objective)} backbone"}
        classes = len(self.dataset.concepts)
        for report in reports(objective.backbone, bank, test, config, common=common, classes=classes):
            key = layout.eval_record(self.run, step, f"{report['name']}.json")
            patiently(self.store.put, key, json.dumps(report).encode(), content_type="application/json")
            yield report

    def patch_picture(self, backbone: Backbone, step: int) -> None:
        """``export/patch-pca.png`` and then ``patch-pca.json``, which says what lies where in it.

        Images of a caption are one set with one PCA. They are looked at in twice the training's size, as in the paper,
        for more patches. Nothing is written if no caption is held out.

        Raises:
            DatasetDamaged, StoreError: images cannot be read.
        """
        size = 2 * self.config.augment.size
        rows = distinct_rows(self.plan, limit=self.config.eval.patch_pca_captions)
        if not rows:
            return
        first = build_objective(self.config, self.plan.seed, concepts=len(self.dataset.concepts))
        networks = (first.backbone.to(backbone.device), backbone)
        sheet, described = [], []
        for row in rows:
            pixels = self._read([row], size).pixels[:_MOST_IMAGES]
            pictures = (pca_colours(patch_features(network, pixels)) for network in networks)
            sheet.append(list(zip(pixels, *pictures, strict=True)))
            group = self.dataset.rows[row]
            images = list(range(len(pixels)))
            described.append({"caption_id": group.caption_id, "concept": group.concept, "images": images})
        said = {
            "name": "patch-pca",
            "step": step,
            "network": f"{evaluated_network(first)} backbone",
            "image_size": size,
            "columns": COLUMNS,
            "tile": TILE,
            "gap": GAP,
            "rows": described,
        }
        png, data = contact_sheet(sheet), json.dumps(said, indent=1).encode()
        patiently(self.store.put, layout.export_file(self.run, "patch-pca.png"), png, content_type="image/png")
        key = layout.export_file(self.run, "patch-pca.json")
        patiently(self.store.put, key, data, content_type="application/json")
