"""An S3 server behind a proxy on loopback that loses, delays and damages what a test tells it to."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Exchange", "Fault", "FaultProxy", "Seen"]

Answer = tuple[int, list[tuple[str, str]], bytes]
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class Exchange:
    """One request in the hands of the proxy."""

    handler: BaseHTTPRequestHandler
    upstream: tuple[str, int]
    body: bytes
    proxy: FaultProxy

    def forward(self) -> Answer:
        """Send the request on as it is; the server's whole answer."""
        connection = http.client.HTTPConnection(*self.upstream, timeout=30)
        try:
            connection.putrequest(self.handler.command, self.handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.handler.headers.items():
                connection.putheader(name, value)
            connection.endheaders(self.body or None)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def answer(self, answer: Answer, *, announced: int | None = None) -> None:
        """Tell the client; ``announced`` lies about the length of the body."""
        status, headers, body = answer
        self.handler.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.handler.send_header(name, value)
        if status != 204:
            length = {name.lower(): value for name, value in headers}.get("content-length", str(len(body)))
            self.handler.send_header("Content-Length", length if announced is None else str(announced))
        self.handler.end_headers()
        if self.handler.command != "HEAD":
            self.handler.wfile.write(body)
        self.handler.wfile.flush()

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection, with FIN or with RST."""
        self.handler.close_connection = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


Fault = Callable[[Exchange], None]


class _Server(ThreadingHTTPServer):
    # With the default of 5 a burst of a farm's connections waits a second and more for its handshake.
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A client that dies between two requests is nothing to tell."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(*_)


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class FaultProxy:
    """Hands requests on untouched, but for those that ``faults`` (once each, in order) or ``always`` names."""

    upstream: tuple[str, int]
    faults: deque[tuple[str, Fault]] = field(default_factory=deque)
    always: dict[str, Fault] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    notes: bool = True
    """Whether requests are kept in ``seen``; a farm sends too many."""
    given_up: int = 0
    """Clients that hung up while they waited for an answer."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are two writes, and the second would wait for the client's delayed ACK.
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                try:
                    length = int(self.headers.get("Content-Length", "0"))
                    body = self.rfile.read(length)
                    if len(body) < length:
                        raise ConnectionResetError("the client died in its body")
                    fault = proxy._next(Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                    fault(Exchange(self, proxy.upstream, body, proxy))
                except (OSError, http.client.HTTPException):
                    # The client has given up waiting, as some tests want; or the server behind is away.
                    self.close_connection = True

            do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = handle_any

            def log_message(self, *_: Any) -> None:
                return

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fault-proxy")
        self._thread.start()

    def _next(self, seen: Seen) -> Fault:
        with self._lock:
            if self.notes:
                self.seen.append(seen)
            if self.faults and self.faults[0][0] == seen.method:
                return self.faults.popleft()[1]
        return self.always.get(seen.method, self.untouched)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def once(self, method: str, *faults: Fault) -> None:
        """The next requests of this method meet these, one each."""
        with self._lock:
            self.faults.extend((method, fault) for fault in faults)

    def count(self, method: str) -> int:
        with self._lock:
            return sum(seen.method == method for seen in self.seen)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @staticmethod
    def untouched(exchange: Exchange) -> None:
        exchange.answer(exchange.forward())

    @staticmethod
    def status(code: int, s3_code: str = "") -> Fault:
        """Answer with an error of S3 (a body of nothing without a code), without asking the server."""

        def fault(exchange: Exchange) -> None:
            body = (
                f"<Error><Code>{s3_code}</Code><Message>told by a test</Message></Error>".encode() if s3_code else b""
            )
            exchange.answer(
                (code, [("Content-Type", "application/xml")], b"" if exchange.handler.command == "HEAD" else body)
            )

        return fault

    @staticmethod
    def answer_lost(exchange: Exchange) -> None:
        """The server has done it; nobody hears of it."""
        exchange.forward()
        exchange.hang_up()

    @staticmethod
    def request_lost(exchange: Exchange) -> None:
        """The server never hears of it."""
        exchange.hang_up(reset=True)

    @staticmethod
    def late(seconds: float) -> Fault:
        """The answer comes so much later."""

        def fault(exchange: Exchange) -> None:
            answer = exchange.forward()
            time.sleep(seconds)
            exchange.answer(answer)

        return fault

    @staticmethod
    def sometimes(share: float, fault: Fault, chance: random.Random) -> Fault:
        """That share of the requests meet ``fault``, the others pass."""

        def maybe(exchange: Exchange) -> None:
            (fault if chance.random() < share else FaultProxy.untouched)(exchange)

        return maybe

    @staticmethod
    def first(step: Callable[[], object], then: Fault) -> Fault:
        """Something else happens in the world just before."""

        def fault(exchange: Exchange) -> None:
            step()
            then(exchange)

        return fault

    @staticmethod
    def cut(keep: int | None, *, reset: bool = False) -> Fault:
        """The body ends after ``keep`` bytes (None: in its middle) though all of them were announced."""

        def fault(exchange: Exchange) -> None:
            code, headers, body = exchange.forward()
            kept = len(body) // 2 if keep is None else keep
            exchange.answer((code, headers, body[:kept]), announced=len(body))
            exchange.hang_up(reset=reset)

        return fault

    @staticmethod
    def shortened(keep: int) -> Fault:
        """The body is cut and its announced length agrees: a lie that HTTP does not see."""

        def fault(exchange: Exchange) -> None:
            code, headers, body = exchange.forward()
            exchange.answer((code, headers, body[:keep]), announced=keep)

        return fault

    @staticmethod
    def whole_object(exchange: Exchange) -> None:
        """The range is ignored: 200 in place of 206."""
        code, headers, body = exchange.forward()
        del exchange.handler.headers["Range"]
        kept = [(name, value) for name, value in headers if name.lower() != "content-range"]
        exchange.answer((200 if code == 206 else code, kept, body))

    @staticmethod
    def page_of_html(exchange: Exchange) -> None:
        """A portal between client and server answers for it."""
        exchange.answer((200, [("Content-Type", "text/html")], b"<html><p>Please log in<br></html>"))

    @staticmethod
    def never(exchange: Exchange) -> None:
        """No answer, though the connection stands: until the client hangs up, which is noted."""
        exchange.handler.connection.settimeout(60)
        if exchange.handler.connection.recv(1) == b"":
            exchange.proxy.given_up += 1
        exchange.hang_up()
