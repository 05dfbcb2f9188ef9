"""``python -m synfarm_trainer``: the trainer's HTTP service."""

from __future__ import annotations

import sys

import uvicorn
from pydantic import ValidationError

from synfarm.auth import Authenticator, bind_is_allowed, load_keys
from synfarm.settings import AuthSettings, ProcessSettings, StoreSettings
from synfarm.starting import tells_refused_settings
from synfarm.storage.opening import open_proven, tell_unusable
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import configure_logging, get_logger
from synfarm_trainer.app import build_app
from synfarm_trainer.settings import TrainerSettings
from synfarm_trainer.sinks.opening import SinkSettings, missing_packages


@tells_refused_settings
def main() -> int:
    """Serve until SIGTERM; 2 if the settings do not allow it."""
    process = ProcessSettings()
    configure_logging(process.log_level, process.log_format, process="trainer")
    log = get_logger(__name__)
    settings, auth, sinks = TrainerSettings(), AuthSettings(), SinkSettings()
    keys = load_keys(auth.auth_keys_file)
    if not bind_is_allowed(settings.host, auth, keys):
        log.error(
            "bind_refused",
            host=settings.host,
            hint="set SYNFARM_AUTH_KEYS_FILE, or bind 127.0.0.1, or set SYNFARM_AUTH=off",
        )
        return 2
    if auth.auth == "off":
        log.warning("auth_off", hint="everyone who reaches this port is an administrator")
    for sink, cure in missing_packages(sinks).items():
        log.warning("sink_not_installed", sink=sink, hint=cure)
    try:
        store = open_proven(StoreSettings())
    except StoreError as error:
        return tell_unusable(error)
    try:
        app = build_app(settings, store, Authenticator(auth, keys))
    except (ValueError, OSError) as error:
        if isinstance(error, ValidationError):  # of the cluster's settings, which are read only where they are needed
            raise
        log.error("settings_refused", error=str(error), next_step="correct the setting that is named and start again")
        return 2
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, timeout_graceful_shutdown=3)
    return 0


if __name__ == "__main__":
    sys.exit(main())
