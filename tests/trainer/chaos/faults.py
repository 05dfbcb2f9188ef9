"""What befalls a run: its store and the way there, its processes, the service. Each fault falls while it trains."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.fault_proxy import Exchange, Fault, FaultProxy
from tests.trainer.chaos.trainer_service import TrainerService, until

from synfarm.local.servers import LocalS3

__all__ = ["PROCESS_FAULTS", "STORE_FAULTS", "Site", "Strike", "damaged_on_the_way"]


@dataclass(frozen=True)
class Site:
    """One run at work, and what it hangs on."""

    service: TrainerService
    s3: LocalS3
    proxy: FaultProxy
    run: str

    def attempt(self) -> int:
        found: int = self.service.view(self.run)["attempt"]
        return found

    def restarted(self, attempt: int) -> bool:
        view = self.service.view(self.run)
        return view["attempt"] is not None and view["attempt"] > attempt and view["state"] == "running"


Strike = Callable[[Site, random.Random], str]


def damaged_on_the_way(exchange: Exchange) -> None:
    """One byte of the body is another; length, status and headers are right."""
    code, headers, body = exchange.forward()
    if body:
        place = len(body) // 2
        body = body[:place] + bytes([body[place] ^ 0x55]) + body[place + 1 :]
    exchange.answer((code, headers, body))


def _only(keys: bytes, fault: Fault) -> Fault:
    """Requests for other objects pass."""

    def picky(exchange: Exchange) -> None:
        met = keys in exchange.handler.path.encode()
        (fault if met else FaultProxy.untouched)(exchange)

    return picky


def _weather(methods: tuple[str, ...], share: float, fault: Fault, keys: bytes = b"/") -> Strike:
    """For some seconds, and until one has met it, a share of the requests meets a fault."""

    def strike(site: Site, chance: random.Random) -> str:
        met = 0

        def counted(exchange: Exchange) -> None:
            nonlocal met
            met += 1
            fault(exchange)

        some = _only(keys, FaultProxy.sometimes(share, counted, random.Random(chance.random())))
        site.proxy.always.update(dict.fromkeys(methods, some))
        try:
            time.sleep(chance.uniform(1.0, 3.0))
            until(lambda: met, "a request meets the fault", 60)
        finally:
            for method in methods:
                del site.proxy.always[method]
        return f"{met} requests of {'/'.join(methods)}"

    return strike


def _store_restarts(site: Site, chance: random.Random) -> str:
    site.s3.server.kill()
    time.sleep(chance.uniform(0.5, 2.0))
    site.s3.server.bring_up()
    return "killed and started again"


def _killed(which: int, number: signal.Signals) -> Strike:
    """``which`` 0: torchrun's agent, 1: a rank."""

    def strike(site: Site, chance: random.Random) -> str:
        attempt = site.attempt()
        pid = chance.choice(until(lambda: site.service.processes(site.run)[which], "there is one to kill", 30))
        os.kill(pid, number)
        until(lambda: site.restarted(attempt), "the run trains again", 120)
        return f"attempt {attempt} ended by {number.name}"

    return strike


def _service_leaves(number: signal.Signals) -> Strike:
    def strike(site: Site, chance: random.Random) -> str:
        attempt = site.attempt()
        site.service.leave(number)
        time.sleep(chance.uniform(0.0, 1.0))
        site.service.start()
        until(lambda: site.restarted(attempt), "the run trains again", 120)
        return f"attempt {attempt} ended with the service, by {number.name}"

    return strike


def _cache_disk_full(site: Site, chance: random.Random) -> str:
    """A file system of a few pages lies over the folder; where none may be mounted, a file stands in its place."""
    folder = site.service.folder / "shards"
    until(folder.is_dir, "the disk cache is in use", 60)
    before = _disk_falls(site)
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "full", str(folder)]
    if mounted := subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        undo = partial(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
    else:
        aside = folder.with_name("shards-aside")
        folder.rename(aside)
        folder.touch()
        undo = partial(_put_back, folder, aside)
    try:
        until(lambda: _disk_falls(site) > before, "a shard does not fit on the disk", 60)
    finally:
        undo()
    return "full" if mounted else "gone"


def _put_back(folder: Path, aside: Path) -> None:
    folder.unlink()
    aside.rename(folder)


def _disk_falls(site: Site) -> float:
    """Counted anew by each start."""
    view = site.service.view(site.run)
    items = site.service.get(f"/v1/runs/{site.run}/metrics?since={max(0, view['step'] - 1)}")["items"]
    found: float = items[-1]["reading"].get("disk_falls", 0.0) if items else 0.0
    return found


STORE_FAULTS: dict[str, Strike] = {
    "store restarts": _store_restarts,
    "slow objects": _weather(("GET",), 0.5, FaultProxy.late(0.7)),
    "damage in transit": _weather(("GET",), 0.5, damaged_on_the_way, b"/shards/"),
    "bodies cut": _weather(("GET",), 0.5, FaultProxy.cut(None)),
    "answers lost": _weather(("PUT",), 0.7, FaultProxy.answer_lost),
    "requests lost": _weather(("GET", "PUT", "HEAD"), 0.3, FaultProxy.request_lost),
    "store busy": _weather(("GET", "PUT", "HEAD"), 0.5, FaultProxy.status(503, "SlowDown")),
    "cache disk full": _cache_disk_full,
    "store full": _weather(("PUT",), 1.0, FaultProxy.status(507, "XMinioStorageFull")),
}
PROCESS_FAULTS: dict[str, Strike] = {
    "service stopped": _service_leaves(signal.SIGTERM),
    "agent stopped": _killed(0, signal.SIGTERM),
    "rank killed": _killed(1, signal.SIGKILL),
    "agent killed": _killed(0, signal.SIGKILL),
    "service killed": _service_leaves(signal.SIGKILL),
}
