"""Real ranks of a run, joined by gloo, over a real store: each stage of a plan is one start of the run.

Run by ``test_real_ranks_save.py``: ``python forked_ranks.py PLAN FOLDER``. Ranks are forks of this process, which has
imported everything and computed nothing: a start then takes a second. When one of them dies the others are killed, as
torchrun does.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.runs import RunAttempt
from synfarm.faults import Faults
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectMissing, ObjectStore
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start
from synfarm_trainer.state import state_tensors

TOKEN = "01hzzzzzzzzzzzzzzzzzzzzzz2"


read: dict[str, int] = {}
"""Bytes of each file of a checkpoint that this process has read."""


def digest(session: Session) -> str:
    """Of all that a checkpoint holds, bit for bit."""
    told = hashlib.sha256(str(session._trainer.refilled).encode())
    for name, tensor in sorted(state_tensors(session._objective, session._optimizer).items()):
        told.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        told.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return told.hexdigest()


def store_of(stage: dict[str, Any], rank: int, folder: Path) -> ObjectStore:
    """``unreadable``: [rank, step] of a checkpoint whose files are not there for that rank alone.

    ``late``: commits wait until another rank has come to its end, or two seconds.
    """
    store = open_store(StoreSettings())
    blind, step = stage.get("unreadable", (-1, 0))
    usual = store.get
    read.clear()

    def get(key: str) -> bytes:
        if rank == blind and f"/checkpoints/{step:09d}-" in key:
            raise ObjectMissing(key)
        data = usual(key)
        if "/checkpoints/" in key and not key.endswith("/commit.json"):
            read[key] = len(data)
        return data

    write, others = store.put, f"told-{stage['run']}-{stage['attempt']}-[1-9].json"

    def put(key: str, data: bytes | memoryview, **more: Any) -> Any:
        bound = time.monotonic() + 2
        while stage.get("late") and key.endswith("/commit.json") and time.monotonic() < bound:
            time.sleep(0.05)
            if any(folder.glob(others)):
                break
        return write(key, data, **more)

    store.get, store.put = get, put  # type: ignore[method-assign]
    return store


def rank_main(stage: dict[str, Any], rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    world, run, attempt = stage["world"], stage["run"], stage["attempt"]
    if world > 1:
        meeting = f"file://{folder}/meeting-{run}-{attempt}"
        patience = timedelta(seconds=200)
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world, timeout=patience)
    store = store_of(stage, rank, folder)
    session = Session(
        store,
        Start(run, attempt, folder),
        Ranks(rank, world),
        Faults(stage.get("faults", "")),
        lambda: session.step + 1 == stage.get("stop"),
    )
    told = {"resumed": session.step, "before": digest(session), "read": read.copy()}
    session._trainer.refilled += stage.get("refilled", 0)
    told["reason"] = session.train()
    told["committed"] = store.head(layout.checkpoint_commit(run, session.step, attempt)) is not None
    session.close()
    told |= {"after": digest(session), "step": session.step}
    (folder / f"told-{run}-{attempt}-{rank}.json").write_text(json.dumps(told))


def start_of(stage: dict[str, Any], folder: Path) -> bool:
    """Whether every rank came to its end."""
    token = RunAttempt(run=stage["run"], number=stage["attempt"], token=TOKEN, started_at=utc_now(), host="test")
    open_store(StoreSettings()).create(layout.attempt(stage["run"], stage["attempt"]), token.to_bytes())
    children = set()
    for rank in range(stage["world"]):
        child = os.fork()
        if child == 0:
            try:
                rank_main(stage, rank, folder)
            except Exception:  # noqa: BLE001 - told by the exit status; the parent kills the others
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        children.add(child)
    whole = True
    while children:
        ended, status = os.wait()
        children.remove(ended)
        if status and whole:
            whole = False
            for other in children:
                os.kill(other, signal.SIGKILL)
    return whole


def main(plan: Path, folder: Path) -> None:
    ends = [start_of(stage, folder) for stage in json.loads(plan.read_text())]
    (folder / "ends.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
