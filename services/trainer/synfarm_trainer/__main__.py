"""``python -m synfarm_trainer``: the trainer's HTTP service."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from pydantic import ValidationError

from synfarm.auth import Authenticator, bind_is_allowed, load_keys
from synfarm.contracts.wording import in_words
from synfarm.settings import AuthSettings, ProcessSettings, StoreSettings
from synfarm.storage.opening import open_proven, tell_unusable
from synfarm.storage.protocol import StoreError
from synfarm.telemetry import configure_logging, get_logger
from synfarm_trainer.app import build_app
from synfarm_trainer.launch.kubernetes.settings import KubernetesSettings
from synfarm_trainer.settings import TrainerSettings
from synfarm_trainer.sinks.opening import SinkSettings, missing_packages

_KINDS = (TrainerSettings, AuthSettings, SinkSettings, KubernetesSettings)


def _refused(log: Any, error: Exception) -> int:
    """The settings do not allow to serve; the error names the one to correct."""
    told = _named(error) if isinstance(error, ValidationError) else str(error)
    log.error("settings_refused", error=told, hint="correct the setting that is named and start again")
    return 2


def _named(error: ValidationError) -> str:
    """With the variable's name, which the error has not; of a fault between several its own words have it."""
    field = error.errors()[0]["loc"][:1]
    prefix = next((str(kind.model_config.get("env_prefix")) for kind in _KINDS if kind.__name__ == error.title), "")
    return f"{prefix}{field[0]}".upper() + f": {in_words(error)}" if field else in_words(error)


def main() -> int:
    """Serve until SIGTERM; 2 if the settings do not allow it."""
    process = ProcessSettings()
    configure_logging(process.log_level, process.log_format, process="trainer")
    log = get_logger(__name__)
    try:
        settings, auth, sinks = TrainerSettings(), AuthSettings(), SinkSettings()
    except ValidationError as error:
        return _refused(log, error)
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
        return _refused(log, error)
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, timeout_graceful_shutdown=3)
    return 0


if __name__ == "__main__":
    sys.exit(main())
