"""Structured logging: one event name and fields a line, one formatter for every process."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import structlog

from synfarm.safe_text import escaped

__all__ = ["configure_logging", "get_logger"]


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is now: one that stood in for it, as around a command in a test, is closed by then.

    Threads that log outlive such a stream, and the standard library would tell of each line that it is lost.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def configure_logging(level: str = "info", style: Literal["console", "json"] = "json", *, process: str = "") -> None:
    """Send structlog and the standard library's logging to stderr in one format; call once a process."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor
    renderer = structlog.processors.JSONRenderer() if style == "json" else _for_people()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpx2", "httpcore", "httpcore2", "urllib3", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    if process:
        structlog.contextvars.bind_contextvars(process=process)


def _for_people() -> structlog.types.Processor:
    """Lines for a terminal: what is in them acts on none, and what follows the first line of an event is indented.

    So no name, reason or traceback of a stranger can pass for an event of its own. (JSON escapes both by itself.)
    """
    draw = structlog.dev.ConsoleRenderer(colors=False)

    def render(logger: Any, method: str, event: structlog.types.EventDict) -> str:
        return escaped(draw(logger, method, event)).replace("\n", "\n    ")

    return render


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
