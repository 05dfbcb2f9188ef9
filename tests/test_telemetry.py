"""Lines of threads that outlive the stream in which their process was told to log."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from synfarm.telemetry import configure_logging


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Logging is the process': others of it must not notice."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = [*root.handlers], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


def test_a_line_goes_to_what_stderr_is_when_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as closed:
        configure_logging("error", "json")
        logging.getLogger("feeder").error("first")
        assert '"first"' in closed.getvalue()
    closed.close()
    logging.getLogger("feeder").error("second")
    told = capsys.readouterr().err
    assert '"second"' in told
    assert "Logging error" not in told
