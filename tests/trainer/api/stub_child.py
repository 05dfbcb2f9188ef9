"""A training process as the service sees it: writes a journal, leaves an exit record, dies as its plan says.

The plan file holds one entry an attempt: {"steps": n, "from": m, "end": completed|stopped|nan|die|hang|deaf,
 "delay": s, "after": file to wait for}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

run, attempt, state_dir, plan_file = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
plans = json.loads(plan_file.read_text())
plan = plans.get(run, plans.get("*"))
plan = plan[min(attempt, len(plan) - 1)]
folder = state_dir / "runs" / run
journal = (folder / f"journal-{attempt:06d}.jsonl").open("ab", buffering=0)
stop = False


def on_term(*_: object) -> None:
    global stop
    stop = True


def now() -> str:
    return datetime.now(UTC).isoformat()


def write(kind: str, data: dict[str, object]) -> None:
    journal.write(json.dumps({"type": kind, "at": now(), "data": data}).encode() + b"\n")


def leave(reason: str, detail: str | None = None) -> None:
    (folder / f"exit-{attempt:06d}.json").write_text(json.dumps({"reason": reason, "detail": detail, "step": step}))
    sys.exit(0 if reason in {"completed", "stopped"} else 1)


signal.signal(signal.SIGTERM, on_term)
(folder / f"devices-{attempt}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "as the machine has"))
(folder / f"started-{attempt}").write_text(str(os.getpid()))
step = plan.get("from", 0)
write("state", {"state": "running", "step": step, "resumed_step": step})
for _ in range(plan["steps"]):
    time.sleep(plan.get("delay", 0.0))
    if stop:
        leave("stopped")
    step += 1
    write(
        "step",
        {
            "step": step,
            "at": now(),
            "epoch": step / 10,
            "losses": {"total": 1.0 / step},
            "loss_hex": (1.0 / step).hex(),
            "batch_sha256": "0" * 64,
            "learning_rate": 0.1,
            "ema_momentum": 0.9,
            "seconds": 0.5,
            "data_wait_seconds": 0.1,
            "images_per_second": 100.0,
            "mfu": 0.4,
            "split": {"data": 0.1, "gradients": 0.25, "update": 0.05},
            "reading": {"hits": 5.0, "bytes": 1000.0},
            "monitors": {"key_spread": 0.9, "gradient_norm": 3.0},
        },
    )
if plan["end"] == "hang":
    while not stop:
        time.sleep(0.02)
    leave("stopped")
if plan["end"] == "deaf":
    while True:
        time.sleep(1)
while "after" in plan and not Path(plan["after"]).exists():
    time.sleep(0.02)
if plan["end"] == "die":
    sys.stdout.write("a last word\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
leave(plan["end"], "loss is nan" if plan["end"] == "nan" else None)
