"""How long training stands still for checkpoints, and what their uploads cost the steps beside them.

Run: ``python benchmarks/bench_checkpoint.py`` (``--shape vit-b --device cuda``). The state is that of a real network:
student, teacher, two moments. The store answers each put after a while and takes bytes at a rate. Images are tiny, so
that steps are short and a save weighs all the more. Rounds without and with checkpoints take turns; beside them stands
a save as one would write it, safetensors' own and an upload in the step's way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from our_step import OurStep
from rich.console import Console
from rich.table import Table
from safetensors.torch import save
from step_setting import SHAPES, setting_of

from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectInfo
from synfarm_trainer.checkpoint import CheckpointStore, Keep, Saver
from synfarm_trainer.guard import check_state
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.shares import share_of
from synfarm_trainer.state import counters, state_tensors

RUN, TOKEN = "01hzzzzzzzzzzzzzzzzzzzzzz1", "01hzzzzzzzzzzzzzzzzzzzzzz2"
PIECE = 64 * 2**20


class DistantStore(MemoryStore):
    """Keeps small objects; of tensors it copies pieces, as a client does, and drops them."""

    def __init__(self, latency: float, rate: float) -> None:
        super().__init__()
        self._latency, self._rate = latency, rate

    def put(self, key: str, data: bytes | memoryview, *, content_type: str = "application/octet-stream") -> ObjectInfo:
        for at in range(0, len(data), PIECE):
            bytes(data[at : at + PIECE])
        time.sleep(self._latency + len(data) / self._rate)
        kept = data if key.endswith(".json") else b""
        return super().put(key, kept, content_type=content_type)


class Training:
    def __init__(self, ours: OurStep, batch: Any, store: DistantStore, ranks: int) -> None:
        self._ours, self._batch, self._store = ours, batch, store
        self._ranks = Ranks(0, ranks)
        self._saver = Saver(CheckpointStore(store, RUN, 0, TOKEN), Ranks(), Keep(last=1))
        self._at = 0
        self.stalls: list[float] = []
        self.uploads: list[float] = []

    def step(self) -> float:
        began = time.perf_counter()
        self._ours.step(self._batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._at += 1
        return time.perf_counter() - began

    def save(self) -> None:
        """As the session does; with ``ranks`` only the first one's share, which is the largest."""
        began = time.perf_counter()
        state = state_tensors(self._ours._objective, self._ours._optimizer)
        share = share_of(state, self._ranks.rank, self._ranks.world)
        check_state(self._at, share)
        self.stalls.append(self._saver.save(self._at, share, counters(refilled=0), began))

    def see(self, *, wait: bool = False) -> None:
        commits = self._saver.drain() if wait else self._saver.poll()
        self.uploads += [commit.upload_seconds or 0.0 for commit in commits]

    def save_plainly(self) -> float:
        began = time.perf_counter()
        state = state_tensors(self._ours._objective, self._ours._optimizer)
        for part in ("student", "teacher", "optimizer"):
            tensors = {name: x.cpu().contiguous() for name, x in state.items() if name.startswith(f"{part}.")}
            data = save(tensors)
            hashlib.sha256(data).hexdigest()
            self._store.put(part, data)
        return time.perf_counter() - began

    def close(self) -> None:
        self._saver.close()


def measure(shape: str, options: argparse.Namespace) -> dict[str, Any]:
    patch = setting_of(shape, options.captions, options.device, {}).config.model.patch
    short = {"augment.size": 2 * patch, "local_crops.count": 1, "local_crops.size": patch}
    setting = setting_of(shape, options.captions, options.device, short)
    ours = OurStep(setting)
    store = DistantStore(options.latency, options.rate * 1e9)
    training = Training(ours, setting.batch(), store, options.ranks)
    for _ in range(2):
        training.step()
    training.save()  # makes the memory that all later ones use
    training.see(wait=True)
    first, training.stalls, training.uploads = training.stalls[0], [], []
    calm: list[float] = []
    busy: list[float] = []
    stood = 0.0
    for _ in range(options.rounds):
        calm += [training.step() for _ in range(options.every)]
        began = time.perf_counter()
        training.save()
        for _ in range(options.every):
            busy.append(training.step())
            training.see()
        stood += time.perf_counter() - began
        training.see(wait=True)
    plain = training.save_plainly()
    training.close()
    state = state_tensors(ours._objective, ours._optimizer)
    step, stall = statistics.median(calm), statistics.median(training.stalls)
    return {
        "shape": shape,
        "state_bytes": sum(tensor.nbytes for tensor in state.values()),
        "step_seconds": step,
        "step_seconds_beside_an_upload": statistics.median(busy),
        "first_stall_seconds": first,
        "stall_seconds": stall,
        "upload_seconds": statistics.median(training.uploads),
        "blocking_seconds": plain,
        "stall_share": sum(training.stalls) / stood,
        "stall_share_every_1000": stall / (1000 * step + stall),
        "blocking_share_every_1000": plain / (1000 * step + plain),
        "saves": len(training.stalls),
        "steps_between": options.every,
    }


def show(found: Sequence[dict[str, Any]]) -> None:
    table = Table("", *(str(row["shape"]) for row in found), title="Checkpoints beside training")
    rows = {
        "state, GB": lambda row: f"{row['state_bytes'] / 1e9:.2f}",
        "a step, s": lambda row: f"{row['step_seconds']:.2f}",
        "a step in the rounds that save, s": lambda row: f"{row['step_seconds_beside_an_upload']:.2f}",
        "training stands still, s (the first time)": lambda row: (
            f"{row['stall_seconds']:.3f} ({row['first_stall_seconds']:.3f})"
        ),
        "upload, s": lambda row: f"{row['upload_seconds']:.1f}",
        "serialised and uploaded in the step's way, s": lambda row: f"{row['blocking_seconds']:.1f}",
        "share of the time, as saved here": lambda row: (
            f"{100 * row['stall_share']:.2f} % (every {row['steps_between']} steps)"
        ),
        "share of the time, every 1,000 such steps": lambda row: f"{100 * row['stall_share_every_1000']:.4f} %",
        "the same in the step's way": lambda row: f"{100 * row['blocking_share_every_1000']:.3f} %",
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(row) for row in found))
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", choices=list(SHAPES), help="default: vit-s and vit-b")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--captions", type=int, default=8, help="of a batch")
    parser.add_argument("--every", type=int, default=6, help="steps between two checkpoints")
    parser.add_argument("--rounds", type=int, default=3, help="of steps without and steps with a checkpoint")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of each put")
    parser.add_argument("--rate", type=float, default=1.0, help="GB/s of the store")
    parser.add_argument("--ranks", type=int, default=1, help="the first one's share of so many")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = [measure(shape, options) for shape in options.shape or ["vit-s", "vit-b"]]
    if options.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        show(found)


if __name__ == "__main__":
    main()
