"""`synfarm runs export`: a run's backbone in the form that another tool loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.identify import RunArgument
from synfarm.cli.object_store import StoreFolder, opened_store
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.trainer_child import run_trainer_part, store_environment

__all__ = ["export_backbone"]

Format = Literal["timm", "safetensors", "huggingface", "onnx"]


def export_backbone(
    run: RunArgument,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where it goes: a folder that is not there yet.")],
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="timm: weights and the call that builds the model. safetensors: one file with the arguments in its "
            "header. huggingface: a folder for timm's and transformers' loaders. onnx: one graph.",
        ),
    ] = "timm",
    step: Annotated[
        int | None, typer.Option(min=1, help="Of this checkpoint; else of the completed run's export.")
    ] = None,
    data_dir: StoreFolder = None,
    as_json: Json = False,
) -> None:
    """Write a run's backbone for other tools, here.

    It is read back as its users will, and compared with the run's own network: the folder appears when their features
    agree, or not at all. The trainer's packages must be installed; the farm is not asked, only its object store.
    """
    from synfarm.contracts.backbones import BackboneExport

    out = to.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CommandFailed(f"--to {to}: is not empty; name a folder that is not there yet.", ExitCode.REFUSED)
    with opened_store(data_dir) as opened:
        words = [opened.run(run), "--format", form, "--out", str(out)]
        words += [] if step is None else ["--step", str(step)]
        run_trainer_part("formats", words, store_environment(opened.settings), lambda line: say(errors(), line))
    found = BackboneExport.from_bytes((out / "export.json").read_bytes())
    if as_json:
        write_json(found)
        return
    screen = output()
    for name in found.files:
        say(screen, str(to / name))
    say(errors(), f"Features agree to {found.difference:.1g} of the largest (at most {found.tolerance:g}).")
    if found.positions != "resample":
        say(errors(), f"On images of another size than {found.side} positions are resampled as timm does it.")
    say(errors(), f"Load it in {to}:")
    screen.print(found.load, markup=False, highlight=False, soft_wrap=True)
