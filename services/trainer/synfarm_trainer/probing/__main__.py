"""``python -m synfarm_trainer.probing probe|features …``: what `synfarm eval` starts.

Lines of progress go to standard output, the result to ``--out``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from synfarm.contracts.evaluations import Probe, ProbeReport
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import MinioStore
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import configure_logging
from synfarm_trainer.evals.embedding import embed
from synfarm_trainer.evals.paper import paper_scores
from synfarm_trainer.evals.sets.labelled import SetInvalid
from synfarm_trainer.evals.sets.opening import open_set
from synfarm_trainer.evals.sgd_probe import SgdPlan
from synfarm_trainer.models.frozen import Frozen
from synfarm_trainer.networks.opening import open_network
from synfarm_trainer.networks.refused import NetworkRefused
from synfarm_trainer.probing.chosen_sets import Limits, choose, named_place, short_side
from synfarm_trainer.probing.feature_files import write_features
from synfarm_trainer.probing.measuring import Asked, measure

__all__ = ["main", "probe_all"]

_EPILOG = "exit codes: 0 measured; 2 a network or a set is not as named; 3 no store, or no answer from a hub"
Tell = Callable[[str], None]


def opened(name: str) -> Frozen:
    """The network of that name on this machine's GPU, if it has one."""
    frozen = open_network(name, lambda: MinioStore(StoreSettings()))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return replace(frozen, module=frozen.module.to(device))


def probe_all(networks: Sequence[str], sets: Sequence[str], limits: Limits, asked: Asked, tell: Tell) -> ProbeReport:
    """Every network on every set. All sets are opened before the first network is looked through.

    Raises:
        NetworkRefused, SetInvalid: one is not as it is named.
    """
    chosen = [choose(text, limits) for text in sets]
    scores = [
        score for frozen in map(opened, networks) for one in chosen for score in measure(frozen, one, asked, tell)
    ]
    return ProbeReport(scores=tuple(scores), paper=paper_scores({one.name for one in chosen}))


def _features(network: str, text: str, split: str, out: Path, tell: Tell) -> None:
    name, place = named_place(text)
    whole = open_set(place)
    if split not in whole.splits:
        raise SetInvalid(f"--split {split}: {name} has {', '.join(whole.splits)}")
    frozen, images = opened(network), whole.splits[split]
    found = embed(
        frozen, images, short=short_side(name, frozen.side), tell=lambda done: tell(f"{done} of {len(images)} images")
    )
    described = {"network": frozen.name, "set": name, "split": split, **frozen.described}
    write_features(out, found, images.labels, whole.classes, described)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m synfarm_trainer.probing", epilog=_EPILOG)
    parser.add_argument("what", choices=("probe", "features"))
    parser.add_argument("--network", action="append", required=True)
    parser.add_argument("--set", dest="sets", action="append", required=True, metavar="NAME=PLACE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--probe", action="append", choices=get_args(Probe))
    parser.add_argument("--split", default="train")
    parser.add_argument("--train-images", type=int)
    parser.add_argument("--test-images", type=int)
    parser.add_argument("--penalties", type=int, default=45)
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("-k", type=int, default=10)
    given = parser.parse_args(argv)
    asked = Asked(
        tuple(dict.fromkeys(given.probe or ("logistic",))),
        given.penalties,
        given.k,
        SgdPlan(epochs=given.epochs),
        given.augment,
    )
    try:
        if given.what == "features":
            _features(given.network[0], given.sets[0], given.split, given.out, _tell)
        else:
            limits = Limits(given.train_images, given.test_images)
            given.out.write_bytes(probe_all(given.network, given.sets, limits, asked, _tell).to_bytes() + b"\n")
    except (StoreError, ConnectionError) as error:
        return _fail(3, error)
    except (NetworkRefused, SetInvalid, OSError) as error:
        return _fail(2, error)
    return 0


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(code: int, reason: object) -> int:
    sys.stderr.write("eval: " + " ".join(str(reason).split()) + "\n")
    return code


if __name__ == "__main__":
    configure_logging("warning", "console")
    sys.exit(main())
