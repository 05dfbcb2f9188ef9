"""The last spans of a process: sent if the collector answers, given up with one line if it hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from structlog.testing import capture_logs

from synfarm.tracing import open_tracing

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `tracing` is not installed")

JOB = "01jd0000000000000000000000"


class Collector(ThreadingHTTPServer):
    """Answers when it is let, and at the latest before the SDK itself gives up waiting."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.may_answer = threading.Event()
        self.asked = threading.Event()
        self.answered = 0


class Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.set()
        self.server.may_answer.wait(20)
        self.server.answered += 1
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
        yield server
        server.may_answer.set()
        server.shutdown()
        thread.join()


def test_a_collector_that_answers_gets_the_last_spans(collector: Collector) -> None:
    collector.may_answer.set()
    tracing = open_tracing("otlp", "test")
    tracing.job_made(JOB, 1_000.0)
    with capture_logs() as logs:
        tracing.close()
    assert collector.answered == 1
    assert logs == []


def test_a_collector_that_hangs_keeps_nobody(collector: Collector) -> None:
    tracing = open_tracing("otlp", "test")
    tracing.job_made(JOB, 1_000.0)
    with capture_logs() as logs:
        tracing.close(within=0.2)
    assert collector.answered == 0  # nobody waited for its answer
    assert [line["event"] for line in logs] == ["spans_dropped"]
    assert collector.asked.wait(60)
