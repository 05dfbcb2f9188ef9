"""``python -m synfarm.housekeeping [--delete]``: `synfarm gc` in an image that has no command line, for schedules."""

from __future__ import annotations

import argparse
import sys

from synfarm.contracts.housekeeping import Collected
from synfarm.housekeeping.collecting import collect
from synfarm.settings import ProcessSettings, StoreSettings
from synfarm.starting import tells_refused_settings
from synfarm.storage.minio_store import MinioStore
from synfarm.storage.protocol import StoreError, StoreRefused
from synfarm.telemetry import configure_logging, get_logger

__all__ = ["main"]

_AWAY, _REFUSED = 75, 2


@tells_refused_settings
def main(arguments: list[str] | None = None) -> int:
    """Sweep ``SYNFARM_STORE_*`` once and print what went, as JSON; 0, 2 if the store refuses, 75 if it fails."""
    asked = argparse.ArgumentParser(prog="python -m synfarm.housekeeping", description="Remove what nobody needs.")
    asked.add_argument("--delete", action="store_true", help="delete it; without this it is only told")
    delete: bool = asked.parse_args(arguments).delete
    process = ProcessSettings()
    configure_logging(process.log_level, process.log_format, process="housekeeping")
    try:
        found: Collected = collect(MinioStore(StoreSettings()), delete=delete)
    except StoreError as error:
        get_logger(__name__).error("not_swept", error=str(error), next_step="correct SYNFARM_STORE_*, or wait for it")
        # An answer that was cut short, or an object that went meanwhile, may be whole or gone the next time.
        return _REFUSED if isinstance(error, StoreRefused) else _AWAY
    told = {"jobs": found.jobs, "objects": found.objects, "bytes": found.bytes, "notes": len(found.notes)}
    get_logger(__name__).info("swept", deleted=delete, **told)
    sys.stdout.write(found.to_bytes().decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
