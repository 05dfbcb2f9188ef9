"""An LLM server that answers everything after the same delay: what is measured against it is the client.

Run: ``python benchmarks/fixed_latency_llm.py --port 8090 --seconds 0.5``. It speaks TGI's ``/info`` and ``/generate``,
``/v1/models`` and ``/v1/completions``. The text is a pure function of (prompt, seed), names its concept and passes the
gate; all it costs is one parse of the request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import zlib
from typing import Any

_LOOKS = ("red", "blue", "small", "old", "bright", "wooden", "shiny", "huge", "pale", "striped", "dusty", "wet", "lone")
_PLACES = (
    *("a sandy beach", "a green meadow", "a quiet harbour", "the kitchen table", "a city street", "a frozen lake"),
    *("an empty hall", "a rocky hill", "the edge of a forest", "a wide river", "a narrow bridge", "a crowded market"),
)
_LIGHTS = ("at dawn", "under grey clouds", "in warm evening light", "after heavy rain", "at noon", "in thick fog")
_DETAILS = (
    *(
        "two children walking past",
        "fresh snow all around",
        "birds above it",
        "long shadows behind",
        "tall grass nearby",
    ),
    *(
        "a fence in the distance",
        "lanterns overhead",
        "puddles everywhere",
        "smoke rising far away",
        "boats on the water",
    ),
    *("an open umbrella left there", "market stalls closing", "yellow leaves falling"),
)
_INFO = {"model_id": "fixed-latency", "model_sha": "0", "max_concurrent_requests": 4096}


def text_of(prompt: str, seed: int) -> str:
    """A caption of the concept that the prompt asks for."""
    asked = prompt[prompt.rfind("\n") + 1 :].strip().removesuffix("=>").removeprefix("Subject:")
    concept = asked.removesuffix(" Caption:").split(",")[0].strip(" .")
    h = zlib.crc32(prompt.encode(), seed & 0xFFFFFFFF)
    h, look = divmod(h, len(_LOOKS))
    h, place = divmod(h, len(_PLACES))
    h, light = divmod(h, len(_LIGHTS))
    detail = h % len(_DETAILS)
    return f" a {_LOOKS[look]} {concept} near {_PLACES[place]} {_LIGHTS[light]} with {_DETAILS[detail]}"


def _native(body: dict[str, Any]) -> dict[str, Any]:
    seed = int(body["parameters"].get("seed") or 0)
    details = {"finish_reason": "stop_sequence", "generated_tokens": 20, "seed": seed, "prefill": [], "tokens": []}
    return {"generated_text": text_of(body["inputs"], seed) + "\n", "details": details}


def _completion(body: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "text": text_of(body["prompt"], int(body.get("seed") or 0)), "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"completion_tokens": 20}, "model": "fixed-latency"}


class _Connection(asyncio.Protocol):
    """One request at a time, as HTTP/1.1 clients without pipelining send them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop, self._seconds = loop, seconds
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
        path = head.split(b" ", 2)[1]
        if path == b"/generate":
            self._answer_later(_native(json.loads(body)))
        elif path == b"/v1/completions":
            self._answer_later(_completion(json.loads(body)))
        elif path == b"/info":
            self._send(_reply(_INFO))
        elif path == b"/v1/models":
            self._send(_reply({"data": [{"id": "fixed-latency"}]}))
        else:
            self._send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    def _answer_later(self, answer: dict[str, Any]) -> None:
        self._loop.call_later(self._seconds, self._send, _reply(answer))

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _reply(answer: dict[str, Any]) -> bytes:
    data = json.dumps(answer).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)


async def _serve(port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(loop, seconds), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--core", type=int, default=None, help="stay on this core")
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    asyncio.run(_serve(chosen.port, chosen.seconds))


if __name__ == "__main__":
    main()
