"""A server with TGI's `/generate` and `/info` that answers at once: the chaos suite kills the farm, not time.

The text is a pure function of (prompt, seed): a caption, or settings where the prompt ends in a list. About one in ten
captions loses its concept, as a small model does, and ``--always-lose WORD`` makes a concept for which nothing is ever
accepted. With ``STUB_LLM_UNRULY=<file>`` in its environment it is overloaded, broken and silent by turns, and writes a
line of that file for each time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PLACES = ("beach", "forest", "street", "meadow", "kitchen", "desert", "garden", "mountain")
SILENCE_SECONDS = 6.0
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "pink", "orange", "purple", "gray")


def _list(line: str, seed: int, *, lost: bool) -> str:
    """Goes on with a list whose last line is ``line``: four settings, or nothing of the kind."""
    places = (
        ["with a hat"] if lost else [f"in a {COLOURS[seed // 7**k % 11]} {PLACES[(seed + k) % 8]}" for k in range(4)]
    )
    return "".join(f" {place}\n{line}" for place in places)


class _Handler(BaseHTTPRequestHandler):
    always_lose: str | None = None
    seconds: float = 0.0
    served = 0
    lock = threading.Lock()
    unruly: int | None = None
    """File descriptor of what was done to requests, or None for a well-behaved server."""
    mood = random.Random(4)

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        if self.path == "/info":
            self._answer({"model_id": "stub", "model_sha": "0", "max_concurrent_requests": 128, "max_total_tokens": 512,
                          "max_input_tokens": 400, "max_best_of": 1, "max_stop_sequences": 4, "version": "0",
                          "max_client_batch_size": 1, "router": "stub", "validation_workers": 1})  # fmt: skip
        elif self.path == "/served":
            self._answer({"served": type(self).served})
        else:
            self._answer({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.unruly is not None and self._misbehave(self.unruly):
            return
        time.sleep(self.seconds)
        with self.lock:
            type(self).served += 1
        concept = body["inputs"].rsplit("\n", 1)[-1].removesuffix("=>").strip()
        seed = int(body["parameters"].get("seed") or 0)
        lost = seed % 10 == 0 or concept == self.always_lose
        word = "something" if lost else concept
        text = f" a {COLOURS[seed // 10 % 11]} {word} on a {PLACES[seed // 110 % 8]} number {seed % 9973}\nnext"
        if concept.startswith("- "):
            text = _list(concept, seed, lost=concept.endswith(f" {self.always_lose}"))
        details = {"finish_reason": "length", "generated_tokens": 12, "seed": seed, "prefill": [], "tokens": []}
        answer = {"generated_text": text, "details": details}
        self._answer(answer if self.path == "/generate" else [answer])

    def _misbehave(self, record: int) -> bool:
        """20 % busy, 5 % broken, 2 % without an answer; whether this was one of them."""
        with self.lock:
            chance, detail = self.mood.random(), self.mood.random()
        if chance >= 0.27:
            return False
        kind = "busy" if chance < 0.2 else "broken" if chance < 0.25 else "silent"
        os.write(record, f"{kind}\n".encode())
        if kind == "busy":
            # Rarely with a wish: it holds back every request for its second.
            self._answer({"error": "Model is overloaded", "error_type": "overloaded"}, 429, wait=detail < 0.01)
        elif kind == "broken":
            self._answer({"error": "it broke"}, (500, 502, 503, 424)[int(detail * 4)])
        else:
            time.sleep(SILENCE_SECONDS)
            self.close_connection = True
        return True

    def _answer(self, body: object, status: int = 200, *, wait: bool = False) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        if wait:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--always-lose", default=None)
    parser.add_argument("--seconds", type=float, default=0.02)
    arguments = parser.parse_args()
    _Handler.always_lose, _Handler.seconds = arguments.always_lose, arguments.seconds
    if record := os.environ.get("STUB_LLM_UNRULY"):
        _Handler.unruly = os.open(record, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    ThreadingHTTPServer(("127.0.0.1", arguments.port), _Handler).serve_forever()
