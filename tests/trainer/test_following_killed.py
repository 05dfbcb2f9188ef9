"""Kill -9 between a segment and the next checkpoint, with real processes over a real store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from synfarm.contracts import layout
from synfarm.faults import Faults
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.segment_records import read_segments
from synfarm_trainer.session import Session, Start

sys.path.insert(0, str(Path(__file__).parent))
from growing_job import GrowingJob

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow]
RUN, UNBROKEN = "01hzzzzzzzzzzzzzzzzzzzzzz1", "01hzzzzzzzzzzzzzzzzzzzzzz3"
JOB = "01hzzzzzzzzzzzzzzzzzzzzzz0"
FOLLOWED: dict[str, object] = {
    "data.captions_per_batch": 8,
    "data.cell_captions": 4,
    "checkpoint.every_steps": 2,
    "eval.knn": False,
    "eval.patch_pca": False,
}


def start(settings: StoreSettings, state: Path, *, ranks: int, attempt: int, faults: str = "") -> int:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "SYNFARM_STORE_ENDPOINT": settings.endpoint,
        "SYNFARM_STORE_ACCESS_KEY": settings.access_key.get_secret_value(),
        "SYNFARM_STORE_SECRET_KEY": settings.secret_key.get_secret_value(),
        "SYNFARM_STORE_BUCKET": settings.bucket,
        "SYNFARM_STORE_PREFIX": settings.prefix,
        "SYNFARM_FAULTS": faults,
    }
    command = [sys.executable, "-m"]
    if ranks > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        command += ["--rdzv-id", f"{RUN}-{attempt}", "-m"]
    command += ["synfarm_trainer.run", "--run-id", RUN, "--attempt", str(attempt), "--state-dir", str(state)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode and not faults:
        pytest.fail(done.stderr[-4000:])
    return done.returncode


def steps(state: Path, run: str, attempt: int) -> dict[int, tuple[str, str]]:
    lines = (state / "runs" / run / f"journal-{attempt:06d}.jsonl").read_text().splitlines()
    found = [line["data"] for line in map(json.loads, lines) if line["type"] == "step"]
    return {data["step"]: (data["loss_hex"], data["batch_sha256"]) for data in found}


def unbroken(store, state: Path, open_attempt, spec) -> dict[int, tuple[str, str]]:
    """The run in one process without a kill, over the segments of the one that was killed."""
    copy = spec.model_copy(update={"run": UNBROKEN})
    store.put(layout.run(UNBROKEN), copy.to_bytes())
    for number, segment in enumerate(s for s in read_segments(store, RUN) if s.why != "started"):
        mine = segment.model_copy(update={"run": UNBROKEN, "number": number, "attempt": 0})
        store.create(layout.segment(UNBROKEN, number), mine.to_bytes())
    open_attempt(store, 1, run=UNBROKEN)
    threads = torch.get_num_threads()
    session = Session(store, Start(UNBROKEN, 1, state), Ranks(), Faults(), lambda: False)
    try:
        assert session.train() == "completed"
    finally:
        session.close()
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    return steps(state, UNBROKEN, 1)


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_run_killed_after_it_took_in_data_goes_on_over_its_segments(
    store_settings: StoreSettings, tmp_path: Path, write_dataset, write_run, open_attempt, every_term, ranks: int
) -> None:
    store, marker = open_store(store_settings), tmp_path / "killed"
    job = GrowingJob.write(store, write_dataset, JOB, captions=96, units_per_part=4)
    job.grow()
    overrides = {**every_term, **FOLLOWED}
    spec = write_run(store, job.ref, follow=True, ranks=ranks, overrides=overrides)
    job.grow()
    open_attempt(store, 0)
    # Steps 1 to 3 are an epoch of the first part; the second is taken in before step 4, in which the process falls.
    assert start(store_settings, tmp_path, ranks=ranks, attempt=0, faults=f"train.step:unit=4:kill:{marker}") != 0
    assert marker.exists(), "the fault must fall inside the run"
    before = steps(tmp_path, RUN, 0)
    assert sorted(before) == [1, 2, 3]
    assert [(s.why, s.position) for s in read_segments(store, RUN)] == [("begun", 0), ("adopted", 24)]
    # The rest comes while nobody trains: it must wait for the border behind the recorded one.
    job.end()
    open_attempt(store, 1)
    assert start(store_settings, tmp_path, ranks=ranks, attempt=1) == 0
    after = steps(tmp_path, RUN, 1)
    segments = read_segments(store, RUN)
    assert [(s.why, s.attempt, s.position, s.datasets[0].parts) for s in segments] == [
        ("begun", 0, 0, 1),
        ("adopted", 0, 24, 2),
        ("started", 1, 24, 2),
        ("adopted", 1, 72, 3),
    ]
    shared = sorted(set(before) & set(after))
    assert [after[step] for step in shared] == [before[step] for step in shared]
    whole, expected = {**before, **after}, unbroken(store, tmp_path, open_attempt, spec)
    if ranks == 1:
        assert whole == expected
    assert {step: batch for step, (_, batch) in whole.items()} == {step: b for step, (_, b) in expected.items()}
