"""The scores of one network on one set, by each probe that is asked for; features are taken once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from synfarm.contracts.evaluations import Probe, ProbeScore
from synfarm_trainer.evals import knn, logistic
from synfarm_trainer.evals.embedding import augmented_epoch, embed
from synfarm_trainer.evals.linear import penalties
from synfarm_trainer.evals.logistic import Labelled
from synfarm_trainer.evals.sets.labelled import SetInvalid, Split
from synfarm_trainer.evals.sgd_probe import Batches, SgdPlan, train_probe
from synfarm_trainer.models.frozen import Frozen
from synfarm_trainer.probing.chosen_sets import ChosenSet, short_side

__all__ = ["Asked", "measure"]

Tell = Callable[[str], None]
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    probes: Sequence[Probe]
    penalties: int = 45
    k: int = 10
    sgd: SgdPlan = field(default_factory=SgdPlan)
    augment: bool = False
    """Crops and flips anew in each epoch of ``sgd``, as in the paper: the network looks at every image so many times.
    Otherwise at the middle of each image, once."""


def measure(frozen: Frozen, chosen: ChosenSet, asked: Asked, tell: Tell) -> Iterator[ProbeScore]:
    """
    Raises:
        SetInvalid: images cannot be read, or a probe does not go with the set.
    """
    wrong = [probe for probe in asked.probes if probe != "logistic"]
    if chosen.several and wrong:
        raise SetInvalid(f"{chosen.name}: an image shows several classes, which only logistic can tell; not {wrong[0]}")
    divided = chosen.divided
    splits = {"train": divided.train, "validation": divided.val, "test": divided.test}
    train, val, test = (_seen(frozen, chosen, name, split, tell) for name, split in splits.items())
    both = train + val
    for probe in asked.probes:
        tell(f"{frozen.name} on {chosen.name}: {probe}")
        if probe == "logistic":
            found = logistic.probe(train, val, test, metric=chosen.metric, among=penalties(asked.penalties), tell=tell)
            score, details = found.score, {"penalty": found.penalty, "validation": found.validation}
        elif probe == "knn":
            score, details = _nearest(both, test, asked.k, len(chosen.classes))
        else:
            score, details = _sgd(frozen, chosen, both, test, asked, tell)
        yield ProbeScore(
            network=frozen.name,
            labelled=chosen.name,
            probe=probe,
            metric=chosen.metric if probe == "logistic" else "top1",
            score=score,
            train_images=len(both.labels),
            test_images=len(test.labels),
            classes=len(chosen.classes),
            details=details,
        )


def _seen(frozen: Frozen, chosen: ChosenSet, name: str, split: Split, tell: Tell) -> Labelled:
    short = short_side(chosen.name, frozen.side)

    def told(done: int) -> None:
        tell(f"{frozen.name} on {chosen.name}: {done} of {len(split)} images to {name}")

    return Labelled(embed(frozen, split, short=short, tell=told), split.labels)


def _nearest(bank: Labelled, test: Labelled, k: int, classes: int) -> tuple[float, dict[str, float]]:
    found = knn.evaluate(
        bank.features,
        bank.labels,
        test.features,
        test.labels,
        np.arange(len(test.labels)),
        k=k,
        classes=classes,
        resamples=_RESAMPLES,
        seed=0,
    )
    return found.top1, {"k": k, "standard_error": found.standard_error}


def _sgd(
    frozen: Frozen, chosen: ChosenSet, train: Labelled, test: Labelled, asked: Asked, tell: Tell
) -> tuple[float, dict[str, float]]:
    plan, count = asked.sgd, len(train.labels)
    batch = min(plan.batch, count)
    plan = SgdPlan(plan.epochs, batch, plan.rates, plan.normalise, plan.look_every, plan.seed)
    device = next(iter(frozen.module.parameters()), torch.zeros(0)).device
    divided = chosen.divided
    images = Split(
        train.labels,
        lambda row: (
            divided.train.image(row) if row < len(divided.train) else divided.val.image(row - len(divided.train))
        ),
    )

    def cached(number: int) -> Batches:
        order = np.random.default_rng([plan.seed, number]).permutation(count)
        for start in range(0, count - batch + 1, batch):
            yield _tensors(train, order[start : start + batch])

    def cropped(number: int) -> Batches:
        return augmented_epoch(frozen, images, number, batch=batch, seed=plan.seed)

    found = train_probe(
        cropped if asked.augment else cached,
        lambda: (
            _tensors(test, np.arange(i, min(i + 1024, len(test.labels)))) for i in range(0, len(test.labels), 1024)
        ),
        width=train.features.shape[1],
        classes=len(chosen.classes),
        steps=count // batch,
        plan=plan,
        device=device,
        tell=tell,
    )
    details = {"best": found.best, "best_rate": found.best_rate, "best_epoch": found.best_epoch}
    return found.last, {**details, "last_rate": found.last_rate}


def _tensors(seen: Labelled, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(seen.features[rows]), torch.from_numpy(seen.labels[rows])
