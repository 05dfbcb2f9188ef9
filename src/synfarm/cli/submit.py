"""`synfarm jobs submit`: a job from the command line's options, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from synfarm.cli.asking import Asking
from synfarm.cli.concept_source import read_concepts
from synfarm.cli.counting import counted
from synfarm.cli.drawing import Drawing
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import Farm
from synfarm.cli.identify import job_id
from synfarm.cli.option_groups import OptionGroup, with_groups
from synfarm.cli.options import Json, Quiet, Watch, on_farm
from synfarm.cli.plan_facts import plan_facts
from synfarm.cli.screen import errors, output, say, write_json
from synfarm.cli.submission import cures_of_the_command, fault_in_words
from synfarm.cli.watching import watch_job

if TYPE_CHECKING:
    from synfarm.contracts.concepts import Concept
    from synfarm.contracts.jobs import JobRequest
    from synfarm.contracts.views import JobPlan
    from synfarm.sdk import Client

__all__ = ["Draw", "LaneName", "submit"]

Draw = Literal["uniform", "balanced"]
LaneName = Literal["high", "normal", "low"]
"""As the contract has them, which is loaded only when a request is made: `--help` and completion stay quick."""

_WHAT, _EXIST, _HOW = "What to make", "Captions that exist", "How to submit"
_CAPTIONS_A_CONCEPT = 10
_OTHERS = "a set, mix or variant: --set, --mix, --variant; or captions that exist: --captions-file, --captions-job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(OptionGroup):
    """What to caption, beside what ships."""

    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Concepts, one a line, or a JSON list; '-' reads stdin."),
    ] = None
    listed: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="The same as FILE, as other commands take it.")
    ] = None
    concept: Annotated[
        list[str] | None,
        typer.Option("--concept", "-c", help="A concept (repeat it); 'dog: puppy, hound' with other words for it."),
    ] = None
    captions: Annotated[
        int | None, typer.Option(min=1, help="Captions planned; ten a concept unless told.", rich_help_panel=_WHAT)
    ] = None
    draw: Annotated[
        Draw,
        typer.Option(
            help="uniform: a concept by chance for each caption; balanced: all equally often.", rich_help_panel=_WHAT
        ),
    ] = "uniform"
    max_redraws: Annotated[
        int | None,
        typer.Option(
            help="Draws after a refused text before its slot stays empty; 8 unless told.", rich_help_panel=_WHAT
        ),
    ] = None
    captions_file: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Take the captions of a file that was uploaded.", rich_help_panel=_EXIST),
    ] = None
    captions_job: Annotated[
        str | None,
        typer.Option(metavar="JOB", help="Take the captions of another job; or 'latest'.", rich_help_panel=_EXIST),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner(OptionGroup):
    """How the job is submitted and worked on."""

    name: Annotated[str, typer.Option(help="For people.", rich_help_panel=_HOW)] = "job"
    lane: Annotated[LaneName, typer.Option(help="Priority among jobs.", rich_help_panel=_HOW)] = "normal"
    captions_per_unit: Annotated[
        int | None,
        typer.Option(help="Size of a unit of work; fitted to the renderer unless told.", rich_help_panel=_HOW),
    ] = None
    error_budget: Annotated[
        float | None,
        typer.Option(help="Share of lost units that fails the job; 0.05 unless told.", rich_help_panel=_HOW),
    ] = None
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Called when the job ends or stalls.", rich_help_panel=_HOW)
    ] = None
    webhook_secret_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With the key (whsec_…) that signs the calls.", rich_help_panel=_HOW),
    ] = None
    idempotency_key: Annotated[
        str | None,
        typer.Option(help="The same key and request give the same job, however often sent.", rich_help_panel=_HOW),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and the first prompts; make nothing.", rich_help_panel=_HOW)
    ] = False
    price: Annotated[
        float | None,
        typer.Option(min=0, help="Of an hour of a GPU, for the cost in a dry run.", rich_help_panel=_HOW),
    ] = None

    def body(self) -> dict[str, Any]:
        """The fields of a request that are set.

        Raises:
            CommandFailed: options that do not go together, or a file that cannot be read.
        """
        if self.price is not None and not self.dry_run:
            raise CommandFailed("--price belongs to --dry-run.", ExitCode.REFUSED)
        if self.idempotency_key is not None:
            _check_key(self.idempotency_key)
        fields = {
            "name": self.name,
            "lane": self.lane,
            "captions_per_unit": self.captions_per_unit,
            "error_budget": self.error_budget,
            "webhook": self._webhook(),
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _webhook(self) -> dict[str, str] | None:
        if self.webhook is None:
            if self.webhook_secret_file is not None:
                raise CommandFailed("--webhook-secret-file belongs to --webhook URL.", ExitCode.REFUSED)
            return None
        if self.webhook_secret_file is None:
            return {"url": self.webhook}
        try:
            secret = self.webhook_secret_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it holds no key"
            raise CommandFailed(
                f"--webhook-secret-file {self.webhook_secret_file}: {why}.", ExitCode.REFUSED
            ) from error
        return {"url": self.webhook, "secret": secret}


@on_farm
@with_groups
def submit(
    farm: Farm,
    source: Source,
    asking: Asking,
    drawing: Drawing,
    manner: Manner,
    watch: Watch = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a job. Its id goes to stdout; `--watch` follows it to its end."""
    concepts = _concepts(source, asking)
    body = {
        **manner.body(),
        **asking.body(concepts),
        "concept_draw": source.draw,
        "images_per_caption": drawing.images,
        "render": drawing.body(),
    }
    if source.max_redraws is not None:
        body["caption"] = {**body.get("caption", {}), "max_redraws": source.max_redraws}
    if source.captions is not None or concepts:
        body["captions"] = source.captions or _CAPTIONS_A_CONCEPT * len(concepts)
    elif asking.mix or (asking.variant and asking.variant != "cc12m"):
        what = "--mix" if asking.mix else "--variant"
        raise CommandFailed(f"--captions: say how many are to be planned; {what} has no number of its own.", _REFUSED)
    # What can be said without the farm is said before it is asked.
    _checked({"captions": 1, **body}, source)
    with farm.client() as client, cures_of_the_command():
        request = _checked(_completed(client, source, asking, body), source)
        if manner.dry_run:
            plan = client.jobs.plan(request, price_per_gpu_hour=manner.price)
            write_json(plan) if as_json else _show(plan)
            return
        view = client.jobs.submit(request, idempotency_key=manner.idempotency_key)
    if as_json:
        write_json(view)
    else:
        say(output(), view.job)
        if not quiet:
            of = f" of {counted(len(concepts), 'concept')}" if concepts else ""
            units = counted(view.planned_units, "unit")
            say(errors(), f"{counted(view.planned_captions, 'caption')}{of}, in {units}.")
            if view.stalled:
                say(errors(), f"Held up: {view.stalled}. It goes on by itself when this is mended.", "yellow")
            if not watch:
                say(errors(), f"Watch it: synfarm jobs watch {view.job}")
    if watch:
        watch_job(farm, view.job, as_json=as_json)


_REFUSED = ExitCode.REFUSED


def _check_key(key: str) -> None:
    from synfarm.contracts.ids import check_idempotency_key

    try:
        check_idempotency_key(key)
    except ValueError as error:
        raise CommandFailed(f"--idempotency-key: {error}.", _REFUSED) from error


def _show(plan: JobPlan) -> None:
    output().print(plan_facts(plan))
    for note in plan.notes:
        say(errors(), note, "yellow")


def _concepts(source: Source, asking: Asking) -> Sequence[Concept]:
    """Those that the user lists; none where something else says what to caption.

    Raises:
        CommandFailed: nothing, or more than one thing, says what to caption.
    """
    named = asking.named
    exist = {"--captions-file": source.captions_file, "--captions-job": source.captions_job}
    given = [option for option, value in exist.items() if value is not None]
    if asking.variant == "cc12m":
        if not given:
            cure = "add --captions-file NAME (`synfarm captions upload FILE --name NAME` makes one)"
            raise CommandFailed(f"--variant cc12m are captions of your own: {cure}.", _REFUSED)
        named.remove("--variant")
    named += given
    if source.file is not None and source.listed is not None:
        raise CommandFailed("name one file of concepts: by FILE or by --file, not both.", _REFUSED)
    file = source.listed or source.file
    listed = [what for what, there in (("a FILE", file), ("--concept", source.concept)) if there]
    if len(named) + bool(listed) > 1:
        both = " and ".join([*listed, *named])
        raise CommandFailed(f"say what to caption in one way: {both} exclude each other.", _REFUSED)
    return () if named else read_concepts(file, source.concept or (), others=_OTHERS, by_concept=True)


def _completed(client: Client, source: Source, asking: Asking, body: dict[str, Any]) -> dict[str, Any]:
    """The body with what only the farm knows: the job whose captions are taken, and how many there are."""
    whole = dict(body)
    captions = 1
    if source.captions_job is not None:
        job = job_id(client, source.captions_job)
        whole["captions_from"] = {"job": job}
        captions = client.jobs.get(job).planned_captions if source.captions is None else 1
    elif source.captions_file is not None:
        whole["captions_from"] = {"file": source.captions_file}
        if source.captions is None and source.captions_file in client.caption_files.list().items:
            captions = client.caption_files.get(source.captions_file).lines or 1
    elif asking.concept_set is not None and source.captions is None:
        sizes = {info.name: info.concepts for info in client.concept_set_infos().items}
        # A set that there is not is refused by the farm, which knows near names.
        captions = _CAPTIONS_A_CONCEPT * sizes.get(asking.concept_set, 1)
    whole.setdefault("captions", captions)
    return whole


def _checked(body: dict[str, Any], source: Source) -> JobRequest:
    from pydantic import ValidationError

    from synfarm.contracts.jobs import JobRequest

    if "captions_from" not in body and source.captions_file is not None:
        body = {**body, "captions_from": {"file": source.captions_file}}
    elif "captions_from" not in body and source.captions_job is not None:
        body = {**body, "captions_from": {"job": "0" * 26}}  # looked up later
    try:
        return JobRequest.model_validate(body)
    except ValidationError as error:
        raise CommandFailed(fault_in_words(error), _REFUSED) from error
