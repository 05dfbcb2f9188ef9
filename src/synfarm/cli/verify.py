"""`synfarm verify`: everything that a job has in the object store, checked against what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from synfarm.cli.counting import counted
from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.identify import JobArgument
from synfarm.cli.meter import in_bytes, meter
from synfarm.cli.object_store import StoreFolder, opened_store
from synfarm.cli.options import Json
from synfarm.cli.screen import errors, output, say, write_json

if TYPE_CHECKING:
    from synfarm.contracts.housekeeping import Verification
    from synfarm.housekeeping.verification.verifying import Passed

__all__ = ["verify"]


def verify(
    job: JobArgument,
    sample: Annotated[
        float, typer.Option(max=1.0, metavar="SHARE", help="Of the units, such as 0.01; which ones, --seed decides.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Another one, another sample.")] = 0,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Each holds one shard in memory.")] = 4,
    data_dir: StoreFolder = None,
    as_json: Json = False,
) -> None:
    """Check every hash, count and image of a job; of one that runs, what is committed so far.

    Ends with 0 if all is well, with 1 if something is wrong: each finding tells what, where, and what to do. A sample
    leaves out captions and shards of the other units, and nothing else.
    """
    if sample <= 0:
        raise CommandFailed("--sample: a share above 0, up to 1.", ExitCode.REFUSED)
    try:
        from synfarm.housekeeping.verification.verifying import verify as check
    except ModuleNotFoundError as error:
        raise CommandFailed("verify needs Pillow: pip install 'synfarm[report]'.", ExitCode.REFUSED) from error
    with opened_store(data_dir) as opened, meter("Reading the manifest …") as show:

        def tell(passed: Passed) -> None:
            found = f" · {counted(passed.findings, 'finding')}" if passed.findings else ""
            units = f"unit {passed.units} of {passed.of}"
            show(f"{units} · {passed.images} images decoded · {in_bytes(passed.bytes)} read{found}")

        checked = check(opened.store, opened.job(job), share=sample, seed=seed, threads=threads, progress=tell)
    write_json(checked) if as_json else _print(checked)
    if not checked.clean:
        raise typer.Exit(ExitCode.FAILED)


def _print(checked: Verification) -> None:
    screen = output()
    for finding in checked.findings:
        where = "job" if finding.unit is None else f"unit {finding.unit}"
        say(screen, f"{where}: {finding.fault.value}", "bold red")
        for line in (finding.key, finding.what, finding.todo):
            say(screen, f"    {line}")
    if (more := checked.findings_total - len(checked.findings)) > 0:
        say(screen, f"… and {counted(more, 'more finding')}")
    counts = checked.counts
    share = "" if checked.share >= 1 else f" (a sample of {100 * checked.share:g} %)"
    say(
        screen,
        f"job {checked.job}, generation {checked.generation}, {checked.state.replace('_', ' ')}: "
        f"{counted(checked.units_checked, 'unit')} checked{share}, {checked.images_checked} images decoded, "
        f"{in_bytes(checked.bytes_read)} read",
    )
    if checked.share >= 1:
        rest = checked.planned - counts.captions - counts.empty
        what = "still to come" if checked.state == "running" else f"in {counted(counts.units_dead, 'dead unit')}"
        what = "never made" if checked.state == "cancelled" else what
        say(
            screen,
            f"{checked.planned} captions planned = {counts.captions} with {counts.images} images "
            f"+ {counted(counts.empty, 'empty slot')} + {rest} {what}",
        )
    if checked.clean:
        say(screen, "Nothing is wrong.", "green")
    else:
        say(errors(), f"synfarm: {counted(checked.findings_total, 'finding')}.", "bold red")
