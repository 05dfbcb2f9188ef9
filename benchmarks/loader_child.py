"""One contestant of ``bench_loader.py`` in a process of its own: it does what it reads, and answers, a JSON line each.

{"do": "convert"}                                 -> {}
{"do": "run", "seconds": 4}                       -> {"images", "discarded", "seconds", "main_cpu"}
{"do": "pace", "rate": 174, "seconds": 20}        -> {"images", "seconds", "waited"}
{"do": "read", "images": 20000, "every": 2000}    -> {"images": [...], "rss_mb": [...]}
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loader_setting import Setting

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Contestant:
    def __init__(self, name: str, setting: Setting, overrides: dict[str, Any]) -> None:
        self._name, self._setting, self._overrides = name, setting, overrides
        self._endless: Iterator[Any] | None = None

    def _batches(self) -> Iterator[Any]:
        if self._endless is None:
            if self._name == "synfarm":
                from loader_ours import batches

                self._endless = batches(self._setting, self._overrides)
            else:
                from loader_rivals import BATCHES

                self._endless = BATCHES[self._name](self._setting)
        return self._endless

    def _next(self) -> int:
        from loader_ours import images_of

        return images_of(next(self._batches()))

    def convert(self) -> dict[str, Any]:
        from loader_rivals import CONVERT

        CONVERT[self._name](self._setting)
        return {}

    def run(self, seconds: float) -> dict[str, Any]:
        """As fast as it goes; what waits in its queues is taken before the clock starts."""
        discarded = sum(self._next() for _ in range(2 * self._setting.workers + 2))
        images, main, began = 0, time.thread_time(), time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            images += self._next()
        main_cpu = time.thread_time() - main
        return {"images": images, "discarded": discarded, "seconds": passed, "main_cpu": main_cpu}

    def pace(self, rate: float, seconds: float) -> dict[str, Any]:
        """As a step takes batches that learns ``rate`` images a second: how long it waits for them."""
        self._next()
        images, waited, began = 0, 0.0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            since = time.perf_counter()
            taken = self._next()
            waited += time.perf_counter() - since
            images += taken
            time.sleep(taken / rate)
        return {"images": images, "seconds": time.perf_counter() - began, "waited": waited}

    def read(self, images: int, every: int) -> dict[str, Any]:
        """Memory of the process after so many images, and again."""
        counts, memory, done, due = [], [], 0, 0
        while done < images:
            done += self._next()
            if done >= due:
                counts.append(done)
                memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 2**20)
                due += every
        return {"images": counts, "rss_mb": memory}


def main() -> None:
    name, setting, overrides = sys.argv[1], Setting.read(Path(sys.argv[2])), json.loads(sys.argv[3])
    # Libraries print as they like: answers go where only answers go.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    contestant = Contestant(name, setting, overrides)
    for line in sys.stdin:
        asked = json.loads(line)
        answers.write(json.dumps(getattr(contestant, asked.pop("do"))(**asked)) + "\n")
    os._exit(0)  # workers of a loader that never ends would be waited for


if __name__ == "__main__":
    main()
