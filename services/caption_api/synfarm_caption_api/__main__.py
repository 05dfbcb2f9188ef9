"""``python -m synfarm_caption_api``: the caption API under uvicorn."""

from __future__ import annotations

import gc
import sys

import uvicorn

from synfarm.queue.trust import refused_by_redis
from synfarm.settings import ProcessSettings, RedisSettings, StoreSettings
from synfarm.starting import tells_refused_settings
from synfarm.storage.opening import REFUSED, open_proven, tell_unusable
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import configure_logging, get_logger
from synfarm.tracing import TracingMissing
from synfarm_caption_api.app import BindRefused, create_app
from synfarm_caption_api.settings import ApiSettings

__all__ = ["main"]


def settle_heap() -> None:
    """Take what is loaded by now out of the garbage collector's sight.

    The concept sets and recipes that ship are some hundred thousand objects that live as long as the process. Each full
    collection looked through them for a tenth of a second, in which no request was answered.
    """
    gc.collect()
    gc.freeze()


@tells_refused_settings
def main() -> int:
    """Serve until SIGTERM; the exit code."""
    process, settings = ProcessSettings(), ApiSettings()
    configure_logging(process.log_level, process.log_format, process="caption-api")
    if refused_by_redis(RedisSettings()):
        return REFUSED
    try:
        app = create_app(settings, open_proven(StoreSettings()), warmed=settle_heap)
    except StoreError as error:
        return tell_unusable(error)
    except BindRefused as error:
        get_logger(__name__).error("bind_refused", reason=str(error))
        return REFUSED
    except TracingMissing as error:
        get_logger(__name__).error("tracing_refused", reason=str(error))
        return REFUSED
    # Open event streams would hold a stopping server for ever.
    uvicorn.run(
        app, host=settings.host, port=settings.port, log_config=None, access_log=False, timeout_graceful_shutdown=5
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
