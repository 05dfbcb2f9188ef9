"""What is looked at beside the training: frozen features before, during and after it, and pictures of patch features.

Every rank looks at its share of the images and the first one classifies: reading and embedding them is what takes long,
and it gets faster with ranks; k-NN and the fit of a probe are some seconds on one core meanwhile.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
from synfarm_trainer.evals.sets.labelled import SetInvalid
from synfarm_trainer.evals.sets.looked_at import Looked, chosen_rows, cut
from synfarm_trainer.evals.sets.opening import open_set
from synfarm_trainer.evals.sets.rules import divide
from synfarm_trainer.evals.shares import share
from synfarm_trainer.models.vit import Backbone
from synfarm_trainer.objectives.protocol import Objective, evaluated_network
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.patience import patiently
from synfarm_trainer.ranks import Ranks

__all__ = ["Evaluation", "LabelledShares", "generators_kept", "look_at"]

_MOST_IMAGES = 4
"""Of a caption in the picture of patch features."""


@contextmanager
def generators_kept() -> Iterator[None]:
    """The global generators of this process are afterwards as they were: building a network draws from torch's."""
    states = random.getstate(), np.random.get_state()
    mine = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(mine):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


@dataclass(frozen=True, eq=False, slots=True)
class LabelledShares:
    """A labelled set as a run is evaluated on it: this rank's share of its images."""

    name: str
    classes: int
    train: Looked
    test: Looked
    ranks: Ranks


def _those_who_share(ranks: Ranks, *counts: int) -> Ranks | None:
    """All ranks where there is an image for each; else the first one alone, and None for the others."""
    if min(counts) >= ranks.world:
        return ranks
    return Ranks() if ranks.is_first else None


def look_at(config: TrainConfig, sets: Path | None, ranks: Ranks) -> LabelledShares | None:
    """Read ``eval.labelled`` once, at the run's image size; None where none is named, or this rank is not needed.

    Raises:
        ValueError: it cannot be read; the message names the field and what to do.
    """
    chosen = config.eval
    if not chosen.labelled or not (chosen.knn or chosen.linear):
        return None
    if sets is None:
        cure = "set SYNFARM_TRAINER_SETS, or leave it empty"
        raise ValueError(f"eval.labelled: this trainer has no folder of labelled sets; {cure}")
    try:
        found = open_set(sets / chosen.labelled)
        if found.several:
            raise SetInvalid(f"{chosen.labelled}: an image has several classes; use `synfarm eval probe` on the export")
        divided = divide(Path(chosen.labelled).name, found)
        splits = [(divided.train, chosen.labelled_train), (divided.test, chosen.labelled_test)]
        rows = [chosen_rows(split, limit) for split, limit in splits]
        sharing = _those_who_share(ranks, *map(len, rows))
        if sharing is None:
            return None
        mine = [np.array(share(numbers.tolist(), sharing), dtype=np.int64) for numbers in rows]
        train, test = (
            cut(split.take(numbers), config.augment.size, numbers)
            for (split, _), numbers in zip(splits, mine, strict=True)
        )
    except SetInvalid as error:
        raise ValueError(f"eval.labelled: {error}") from error
    return LabelledShares(chosen.labelled, len(found.classes), train, test, sharing)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Reads the run's own data; its records go to the store."""

    store: ObjectStore
    run: str
    config: TrainConfig
    dataset: Dataset
    plan: Plan | Course
    cache: ShardCache
    ranks: Ranks = field(default_factory=Ranks)
    labelled: LabelledShares | None = None
    _kept: dict[str, tuple[ImageSet, ImageSet]] = field(default_factory=dict)
    _floors: dict[str, dict[str, Any]] = field(default_factory=dict)

    def go_on_with(self, dataset: Dataset, plan: Plan | Course) -> Evaluation:
        """From now on it is about these. Held-out captions are chosen anew, on every rank: kept images of some ranks
        would not go together with those that others read now, nor would a start that resumes know of them."""
        floors = {name: found for name, found in self._floors.items() if name != "held-out"}
        return replace(self, dataset=dataset, plan=plan, _kept={}, _floors=floors)

    def due(self, step: int) -> bool:
        """Whether to evaluate after this step, neither the first nor the last."""
        every = self.config.eval.every_steps
        return bool(every) and step % every == 0 and 0 < step < self.config.schedule.steps

    def recorded(self, step: int) -> bool:
        """Whether all records of this step are there, as the first rank sees it. Every rank must call."""
        asked = {"knn": self.config.eval.knn, "linear": self.config.eval.linear}
        suffixes = ("", "-labelled") if self.labelled is not None else ("",)
        names = [f"{name}{suffix}.json" for suffix in suffixes for name, wanted in asked.items() if wanted]
        keys = {layout.eval_record(self.run, step, name) for name in names}
        prefix = layout.eval_record(self.run, step, "knn.json").removesuffix("knn.json")
        found = self.ranks.is_first and keys <= set(patiently(lambda: [info.key for info in self.store.list(prefix)]))
        return bool(self.ranks.broadcast(torch.tensor([int(found)])).item())

    def _read(self, rows: list[int], size: int) -> ImageSet:
        return read_images(self.dataset, self.cache, rows, size)

    def frozen_features(self, objective: Objective, step: int) -> Iterator[dict[str, Any]]:
        """The records of ``evals/<step>/``, each written and yielded; none if the configuration asks for none.

        Every rank must call, and look at all that is yielded: the first one's records, nothing to the others.

        Raises:
            ValueError: nothing is held out.
            DatasetDamaged, StoreError: images cannot be read.
        """
        config = self.config.eval
        if not (config.knn or config.linear):
            return
        common = {"step": step, "network": f"{evaluated_network(objective)} backbone"}
        rows = [
            choose_rows(self.plan, held_out=held_out, limit=limit)
            for held_out, limit in ((False, config.bank_captions), (True, config.test_captions))
        ]
        sharing = _those_who_share(self.ranks, *map(len, rows))
        if sharing is not None:
            bank, test = self._shares(rows, sharing)
            found = reports(
                objective.backbone,
                *(bank, test, config),
                common=common,
                classes=len(self.dataset.concepts),
                ranks=sharing,
                floors=self._floors.setdefault("held-out", {}),
            )
            yield from map(self._written, found)
        if (other := self.labelled) is not None:
            found = reports(
                objective.backbone,
                *(other.train, other.test, config),
                common={**common, "labelled": other.name},
                classes=other.classes,
                ranks=other.ranks,
                floors=self._floors.setdefault("labelled", {}),
                suffix="-labelled",
            )
            yield from map(self._written, found)

    def _shares(self, rows: list[list[int]], ranks: Ranks) -> tuple[ImageSet, ImageSet]:
        """This rank's images; kept where they will be looked at again and again."""
        if "held-out" in self._kept:
            return self._kept["held-out"]
        bank, test = (self._read(share(part, ranks), self.config.augment.size) for part in rows)
        if self.config.eval.every_steps:
            self._kept["held-out"] = (bank, test)
        return bank, test

    def _written(self, report: dict[str, Any]) -> dict[str, Any]:
        key = layout.eval_record(self.run, report["step"], f"{report['name']}.json")
        patiently(self.store.put, key, json.dumps(report).encode(), content_type="application/json")
        return report

    def patch_picture(self, backbone: Backbone, step: int) -> None:
        """``export/patch-pca.png`` and then ``patch-pca.json``, which says what lies where in it.

        Before the last step their names have the step. Images of a caption are one set with one PCA. They are looked
        at in twice the training's size, as in the paper, for more patches. Nothing is written if no caption is held
        out.

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
        name = "patch-pca" if step == self.config.schedule.steps else f"patch-pca-{step:09d}"
        png, data = contact_sheet(sheet), json.dumps(said, indent=1).encode()
        patiently(self.store.put, layout.export_file(self.run, f"{name}.png"), png, content_type="image/png")
        key = layout.export_file(self.run, f"{name}.json")
        patiently(self.store.put, key, data, content_type="application/json")
