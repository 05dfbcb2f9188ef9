"""``python -m synfarm_trainer.formats RUN --format F --out DIR``: what `synfarm runs export` starts.

The folder appears whole, when what is in it has been read back and gives the run's own features, or not at all.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from synfarm.contracts.backbones import BackboneExport, BackboneFormat
from synfarm.contracts.ids import check_ulid
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import MinioStore
from synfarm.storage.protocol import ObjectStore, StoreError
from synfarm.telemetry import configure_logging
from synfarm_trainer.formats.agreement import FormatFailed, agreement
from synfarm_trainer.formats.described import describe
from synfarm_trainer.formats.writing import FORMATS
from synfarm_trainer.networks.of_runs import config_of, of_run
from synfarm_trainer.networks.refused import NetworkRefused

__all__ = ["export_as", "main"]

_EPILOG = "exit codes: 0 exported; 2 there is no such network, or no room; 3 no store; 4 it cannot be written so"


def export_as(
    store: ObjectStore, run: str, step: int | None, kind: BackboneFormat, out: Path, tell: Callable[[str], None]
) -> BackboneExport:
    """Write, read back, compare, and only then let ``out`` appear; it must not be there, or be empty.

    Raises:
        NetworkRefused: there is no such run or checkpoint.
        FormatFailed: it cannot be written in this format, or features differ.
        StoreError, OSError: the store or the disk fails.
    """
    tell(f"reading the weights of run {run}" + ("" if step is None else f", step {step}"))
    frozen = of_run(run if step is None else f"{run}@{step}", store)
    described = describe(config_of(run, store))
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        written = FORMATS[kind](frozen, described, part)
        tell("reading it back and comparing features")
        agreed = agreement(frozen, written.read(), tolerance=written.tolerance)
        found = BackboneExport(
            run=run,
            step=step,
            format=kind,
            files=written.files,
            weights_sha256=frozen.described["weights_sha256"],
            side=described.side,
            width=described.width,
            mean=described.mean,
            std=described.std,
            positions=described.positions,
            load=written.load,
            difference=agreed.difference,
            tolerance=agreed.tolerance,
        )
        (part / "export.json").write_bytes(found.to_bytes() + b"\n")
        if out.is_dir():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m synfarm_trainer.formats", epilog=_EPILOG)
    parser.add_argument("run", type=check_ulid)
    parser.add_argument("--step", type=int)
    parser.add_argument("--format", choices=get_args(BackboneFormat), required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    chosen = parser.parse_args(argv)
    try:
        export_as(MinioStore(StoreSettings()), chosen.run, chosen.step, chosen.format, chosen.out, _tell)
    except (NetworkRefused, OSError) as error:
        return _fail(2, error)
    except StoreError as error:
        return _fail(3, error)
    except FormatFailed as error:
        return _fail(4, error)
    return 0


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(code: int, reason: object) -> int:
    sys.stderr.write("export: " + " ".join(str(reason).split()) + "\n")
    return code


if __name__ == "__main__":
    configure_logging("warning", "console")
    sys.exit(main())
