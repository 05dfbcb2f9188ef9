"""``python -m synfarm_llm_server``: serve until SIGTERM, then let rows in flight finish."""

from __future__ import annotations

import sys

import uvicorn

from synfarm.auth import Authenticator, bind_is_allowed, load_keys
from synfarm.settings import AuthSettings, ProcessSettings
from synfarm.slow_imports import collector_at_rest
from synfarm.starting import tells_refused_settings
from synfarm.telemetry import configure_logging, get_logger
from synfarm_llm_server.settings import LlmSettings

__all__ = ["main"]


@tells_refused_settings
def main() -> int:
    """Run the server; 0 after a stop that was asked for, 1 if the model or its engine failed."""
    process, auth, settings = ProcessSettings(), AuthSettings(), LlmSettings()
    configure_logging(process.log_level, process.log_format, process="llm-server")
    log = get_logger(__name__)
    keys = load_keys(auth.auth_keys_file)
    if not bind_is_allowed(settings.host, auth, keys):
        log.error("bind_refused", host=settings.host, hint="give SYNFARM_AUTH_KEYS_FILE, or SYNFARM_AUTH=off")
        return 2
    with collector_at_rest():
        from synfarm_llm_server.app import create_app

    failures: list[Exception] = []

    def on_failure(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(settings, Authenticator(auth, keys), on_failure)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(settings.grace_seconds),
        )
    )
    server.run()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
