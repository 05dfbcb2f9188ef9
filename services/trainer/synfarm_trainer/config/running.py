"""What happens beside the learning: checkpoints, evaluations, execution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from synfarm_trainer.config.checks import later, need

__all__ = ["CheckpointConfig", "EvalConfig", "ExecutionConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    every_steps: int = 1000
    """A checkpoint is also written at the end and on SIGTERM."""
    keep_last: int = later(0)
    """The newest so many stay, older ones are deleted when a newer one is committed; 0 keeps all."""
    keep_every: int = later(0)
    """With ``keep_last``: checkpoints of steps that are multiples of this stay too, for ``model.init_from`` and
    evaluations afterwards; 0 for none."""

    def __post_init__(self) -> None:
        need(self.every_steps >= 1, "checkpoint.every_steps", "must be at least 1")
        need(self.keep_last >= 0, "checkpoint.keep_last", "must not be negative; 0 keeps all")
        need(self.keep_every >= 0, "checkpoint.keep_every", "must not be negative; 0 keeps none for its step")
        needless = self.keep_every > 0 and self.keep_last == 0
        need(not needless, "checkpoint.keep_every", "checkpoint.keep_last is 0, which keeps all; set it, or this to 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """Frozen features on held-out captions, before the first and after the last step; a picture of patches at the end.

    What is evaluated is the class token (method section 5), of the teacher where there is one. Nothing of it changes
    the run: the same losses come out with and without.
    """

    every_steps: int = later(0)
    """Evaluate after so many steps too, with a picture of patches ``export/patch-pca-<step>.png``. The images stay in
    memory then, shared among the ranks. 0: only at start and end."""
    labelled: str = later("")
    """A labelled set to evaluate on beside the held-out captions: a folder below the trainer's SYNFARM_TRAINER_SETS,
    with class folders, WebDataset tars, or what ``datasets.save_to_disk`` wrote. Its records are ``knn-labelled`` and
    ``linear-labelled``. Empty: none."""
    labelled_train: int = later(2000)
    """Images of it that are the bank and that the linear probe is fitted to, at most."""
    labelled_test: int = later(1000)
    """Images of it that are classified, at most."""
    knn: bool = True
    k: int = 10
    linear: bool = later(False)
    """Logistic regression too, fitted to the bank (method section 5.2): a minute for 2,000 images of width 128, much
    longer for wide features of many concepts."""
    linear_penalties: int = later(45)
    """L2 penalties from 1e-6 to 1e5 that a fifth of the bank's captions chooses among; the release's 45."""
    bank_captions: int = 2000
    """Training captions whose images are the bank, at most; the linear probe is fitted to them."""
    test_captions: int = 1000
    """Held-out captions that are classified, at most."""
    bootstrap: int = 1000
    """Resamples of captions for the standard error."""
    patch_pca: bool = True
    """Write ``export/patch-pca.png`` when the run is complete."""
    patch_pca_captions: int = 3
    """Held-out captions in it, each of another concept where there are enough, with at most four images each."""

    collapse_steps: int = later(50)
    """Steps in a row with a monitor beyond its limit after which the run is said to have collapsed (metrics
    ``collapsed.<monitor>``, log and journal); it goes on. 0 for never."""

    def __post_init__(self) -> None:
        need(self.collapse_steps >= 0, "eval.collapse_steps", "must not be negative")
        need(self.every_steps >= 0, "eval.every_steps", "must not be negative")
        place = PurePosixPath(self.labelled)
        below = not place.is_absolute() and ".." not in place.parts
        need(below, "eval.labelled", "must be a folder below SYNFARM_TRAINER_SETS, such as cifar10")
        for name in (
            *("k", "linear_penalties", "bank_captions", "test_captions", "patch_pca_captions"),
            *("labelled_train", "labelled_test"),
        ):
            need(getattr(self, name) >= 1, f"eval.{name}", "must be at least 1")
        need(self.bootstrap >= 2, "eval.bootstrap", "must be at least 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConfig:
    """How a step is computed; ``micro_captions``, ``threads``, ``parallel`` and ``compile`` may change the last bits
    of a loss, ``device`` and ``precision`` more of them, and ``augment`` some pixels."""

    deterministic: bool = True
    threads: int = 0
    """torch threads of one rank; 0 shares the machine's cores among its ranks."""
    micro_captions: int = 0
    """Captions in one student pass; 0 takes the rank's whole share at once."""
    device: Literal["auto", "cpu", "cuda"] = later("auto")
    """``auto``: GPUs where torch sees any. Each rank has one, by its number on its machine (``LOCAL_RANK``)."""
    precision: Literal["auto", "float32", "bfloat16"] = later("auto")
    """Of the networks; losses are of float32 at least. ``auto``: bfloat16 on GPUs, float32 on CPUs, where bfloat16 is
    slower."""
    parallel: Literal["ordered", "ddp"] = later("ordered")
    """How ranks add up gradients. ``ordered``: in rank order, after the last micro-batch. ``ddp``: torch's
    DistributedDataParallel, beside the last micro-batch's backward (docs/decisions/0010)."""
    augment: Literal["cpu", "device"] = later("cpu")
    """Where crops are cut: by the loader's threads, image by image; or in batches where the network is, from decoded
    images and what was drawn of their crops. Pixels differ by what ``data/augment/device.py`` tells. On a GPU
    ``device`` spares the host most of its work; on a CPU nothing."""
    peak_tflops: float = later(0.0)
    """Nominal peak of a rank's device in dense bfloat16, against which ``mfu`` is told; 0 looks it up by its name."""
    achievable_tflops: float = later(0.0)
    """What large matrix products really reach on it, for ``mfu_achievable``; 0 looks it up by its name."""

    compile: Literal["none", "blocks"] = later("none")
    """``blocks``: torch.compile of the backbone's blocks. Where that fails they run as they are written, and the log
    and the run's journal name the error. The monitor ``compiled_graphs`` tells of recompilations."""
    recompute: Literal["none", "blocks"] = later("none")
    """``blocks``: keep only what enters each block and compute the rest again on the way back: less memory for a third
    more products, the same gradient bit for bit."""

    def __post_init__(self) -> None:
        need(0 <= self.threads <= 1024, "execution.threads", "must be in 0 to 1024")
        need(self.micro_captions >= 0, "execution.micro_captions", "must not be negative")
        for name in ("peak_tflops", "achievable_tflops"):
            need(getattr(self, name) >= 0, f"execution.{name}", "must not be negative; 0 looks it up")
