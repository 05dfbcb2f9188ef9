"""`synfarm plan`: what a dataset and a training of any size would take, without a farm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.option_groups import OptionGroup, with_groups
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json

if TYPE_CHECKING:
    from pydantic import ValidationError

    from synfarm.planning.asked import PlanAsked
    from synfarm.planning.rates import OwnRates

__all__ = ["plan"]

_WHAT, _RATES, _MACHINES, _LUCK = "What to make", "How fast", "Machines", "What goes wrong"
_OPTIONS = {
    "images_per_caption": "--images",
    "render": "--size, --render-size, --quality, --preset or --family",
    "preemptions_per_gpu_hour": "--preemptions",
    "unit_fault_rate": "--faults",
    "price_per_gpu_hour": "--price",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(OptionGroup):
    """The dataset and the runs."""

    captions: Annotated[int, typer.Option(min=1, help="Captions planned.", rich_help_panel=_WHAT)] = 150_000_000
    images: Annotated[int, typer.Option(min=1, max=64, help="Images a caption.", rich_help_panel=_WHAT)] = 4
    size: Annotated[int, typer.Option(help="Side of the stored images in pixels.", rich_help_panel=_WHAT)] = 256
    render_size: Annotated[int, typer.Option(help="Side at which they are drawn.", rich_help_panel=_WHAT)] = 512
    quality: Annotated[int, typer.Option(help="Of the stored JPEG.", rich_help_panel=_WHAT)] = 95
    family: Annotated[str, typer.Option(help="Of the model that draws; there are figures for sd15.")] = "sd15"
    preset: Annotated[
        Literal["paper", "balanced", "fast", "turbo", "smoke"],
        typer.Option(help="Sampler, steps and guidance, as in `jobs submit`.", rich_help_panel=_WHAT),
    ] = "paper"
    captions_per_unit: Annotated[
        int | None,
        typer.Option(help="Size of a unit of work; what the farm would choose unless told.", rich_help_panel=_WHAT),
    ] = None
    train: Annotated[
        list[str] | None,
        typer.Option(
            help="A preset of the trainer (repeat it): synclr-b16-paper, synclr-l14-paper, table4-all.",
            rich_help_panel=_WHAT,
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines(OptionGroup):
    """What it is made on."""

    rates: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Own measurements, JSON or YAML; cited figures for the rest.", rich_help_panel=_RATES
        ),
    ] = None
    gpu: Annotated[
        Literal["a100", "h100", "h200"], typer.Option(help="Whose cited figures count.", rich_help_panel=_RATES)
    ] = "h100"
    render_gpus: Annotated[int, typer.Option(min=1, help="Render workers.", rich_help_panel=_MACHINES)] = 64
    llm_gpus: Annotated[
        int | None,
        typer.Option(min=1, help="For captions; as many as keep up unless told.", rich_help_panel=_MACHINES),
    ] = None
    train_gpus: Annotated[int, typer.Option(min=1, help="Of each run.", rich_help_panel=_MACHINES)] = 64
    gpus_per_node: Annotated[int, typer.Option(min=1, help="They share a disk.", rich_help_panel=_MACHINES)] = 8
    price: Annotated[
        float | None, typer.Option(min=0, help="Of an hour of a GPU; no money unless told.", rich_help_panel=_MACHINES)
    ] = None
    preemptions: Annotated[float, typer.Option(min=0, help="Of a render worker, an hour.", rich_help_panel=_LUCK)] = 0.0
    faults: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of attempts at a unit that fail.", rich_help_panel=_LUCK)
    ] = 0.0
    simulate: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=1000,
            metavar="SEEDS",
            help="Also run the farm in fast motion, so often: how far luck takes it.",
            rich_help_panel=_LUCK,
        ),
    ] = None


@with_groups
def plan(wanted: Wanted, machines: Machines, as_json: Json = False) -> None:
    """Tell what a dataset and a training would take: GPUs, hours, money, bytes, requests, and what breaks first.

    Nothing is asked of any farm. What one job would take on a farm that runs: `synfarm jobs submit --dry-run`.
    """
    from pydantic import ValidationError

    from synfarm.cli.scale_tables import limits_table, scale_tables, simulated_facts
    from synfarm.planning.planning import PlanRefused, make_plan
    from synfarm.planning.simulation.many import simulate_many
    from synfarm.planning.simulation.of_plan import farm_of_plan

    asked, own = _asked(wanted, machines), _own(machines.rates)
    try:
        made = make_plan(asked, own)
    except PlanRefused as error:
        raise CommandFailed(f"{_option_of(str(error))}.", ExitCode.REFUSED) from error
    played = None
    if machines.simulate is not None:
        try:
            farm = farm_of_plan(made)
        except ValidationError as error:
            fault = error.errors()[0]
            raise CommandFailed(
                f"--simulate: {fault['loc'][0]}, {fault['input']:,}: {fault['msg']}; plan without it, or for less.",
                ExitCode.REFUSED,
            ) from error
        played = simulate_many(farm, machines.simulate, price_per_hour=machines.price)
    if as_json:
        write_json({"plan": made.model_dump(mode="json"), "simulated": played and played.model_dump(mode="json")})
        return
    screen = output()
    for title, rows in scale_tables(made):
        say(screen, f"\n{title}", "bold")
        screen.print(rows)
    if played is not None:
        say(screen, f"\nIn fast motion, {played.seeds} times", "bold")
        screen.print(simulated_facts(played))
    say(screen, "\nWhat breaks first", "bold")
    screen.print(limits_table(made))
    for note in made.notes:
        say(errors(), note, "yellow")


def _asked(wanted: Wanted, machines: Machines) -> PlanAsked:
    from pydantic import ValidationError

    from synfarm.planning.asked import PlanAsked

    body: dict[str, Any] = {
        "captions": wanted.captions,
        "images_per_caption": wanted.images,
        "render": {
            "renderer": "diffusers",
            "model": "planned",
            "family": wanted.family,
            "size": wanted.size,
            "render_size": wanted.render_size,
            "quality": wanted.quality,
            "preset": wanted.preset,
        },
        "captions_per_unit": wanted.captions_per_unit,
        "train": wanted.train or (),
        "gpu": machines.gpu,
        "render_gpus": machines.render_gpus,
        "llm_gpus": machines.llm_gpus,
        "train_gpus": machines.train_gpus,
        "gpus_per_node": machines.gpus_per_node,
        "price_per_gpu_hour": machines.price,
        "preemptions_per_gpu_hour": machines.preemptions,
        "unit_fault_rate": machines.faults,
    }
    try:
        return PlanAsked.model_validate(body)
    except ValidationError as error:
        raise CommandFailed(_first(error), ExitCode.REFUSED) from error


def _of_all(told: str) -> str:
    """What is wrong with no one field: with the file's form, or named already."""
    from synfarm.planning.rates import OwnRates

    return f"it {told}: {', '.join(OwnRates.model_fields)}" if told.startswith("must be") else told


def _own(path: Path | None) -> OwnRates | None:
    from pydantic import ValidationError

    from synfarm.contracts.wording import in_words
    from synfarm.planning.rates import read_rates

    if path is None:
        return None
    try:
        return read_rates(path)
    except ModuleNotFoundError as error:
        raise CommandFailed(
            f"--rates {path}: YAML needs PyYAML; write JSON, or install it.", ExitCode.REFUSED
        ) from error
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        told = f"{place}: {in_words(error)}" if place else _of_all(in_words(error))
        raise CommandFailed(f"--rates {path}: {told}.", ExitCode.REFUSED) from error
    except ValueError as error:
        raise CommandFailed(f"--rates {path}: neither JSON nor YAML: {error}.", ExitCode.REFUSED) from error
    except OSError as error:
        raise CommandFailed(f"--rates {path}: {error.strerror}.", ExitCode.REFUSED) from error


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    field = str(fault["loc"][0]) if fault["loc"] else ""
    option = _OPTIONS.get(field, f"--{field.replace('_', '-')}") if field else ""
    told = fault["msg"].removeprefix("Value error, ")
    return _option_of(told) + "." if not option else f"{option}: {told}."


def _option_of(told: str) -> str:
    """A message that begins with a field, with the option that sets it."""
    field, colon, rest = told.partition(": ")
    if not colon or not field.replace("_", "").replace(".", "").isalpha():
        return told
    name = field.rpartition(".")[2]
    return f"{_OPTIONS.get(name, '--' + name.replace('_', '-'))}: {rest}"
