"""``python -m synfarm.storage``: make the bucket and prove the store once, before a farm starts on it."""

from __future__ import annotations

import sys

from synfarm.settings import ProcessSettings, StoreSettings
from synfarm.starting import tells_refused_settings
from synfarm.storage.opening import open_proven, tell_unusable
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import configure_logging, get_logger

__all__ = ["main"]


@tells_refused_settings
def main() -> int:
    """Open ``SYNFARM_STORE_*`` as every process does; 0, or the exit code of a process that cannot start with it."""
    process, settings = ProcessSettings(), StoreSettings()
    configure_logging(process.log_level, process.log_format, process="store-setup")
    try:
        open_proven(settings)
    except StoreError as error:
        return tell_unusable(error)
    get_logger(__name__).info("store_ready", endpoint=settings.endpoint, bucket=settings.bucket)
    return 0


if __name__ == "__main__":
    sys.exit(main())
