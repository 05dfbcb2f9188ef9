"""Real ranks under torchrun over a real store: a rank is killed, and the next start goes on as the first would have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from synfarm.contracts import layout
from synfarm.faults import Faults
from synfarm.settings import StoreSettings
from synfarm.storage.memory import MemoryStore
from synfarm.storage.minio_store import open_store
from synfarm_trainer.launch.codes import ExitCode
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.slow]
RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
KILLED = 8
BARE = {"eval.knn": False, "eval.patch_pca": False}


def begin(
    settings: StoreSettings, state: Path, *, ranks: int, attempt: int, faults: str = "", new: bool = False
) -> subprocess.Popen[str]:
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
    command = [sys.executable, "-m", "synfarm_trainer.launch", "--ranks", str(ranks)]
    command += ["--run-id", RUN, "--attempt", str(attempt), "--state-dir", str(state)]
    command += ["--new-attempt"] if new else []
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen[str]) -> int:
    try:
        _, errors = child.communicate(timeout=240)
    finally:
        child.kill()
    if child.returncode not in {ExitCode.COMPLETED, ExitCode.LOST_RANK, ExitCode.STOPPED}:
        pytest.fail(errors[-4000:])
    return child.returncode


def steps(state: Path, attempt: int) -> dict[int, tuple[str, str]]:
    lines = (state / "runs" / RUN / f"journal-{attempt:06d}.jsonl").read_text().splitlines()
    found = [line["data"] for line in map(json.loads, lines) if line["type"] == "step"]
    return {data["step"]: (data["loss_hex"], data["batch_sha256"]) for data in found}


def ending(state: Path, attempt: int) -> dict:
    return json.loads((state / "runs" / RUN / f"exit-{attempt:06d}.json").read_text())


@pytest.fixture
def unbroken(tmp_path: Path, write_dataset, write_run, open_attempt, every_term) -> dict[int, tuple[str, str]]:
    """What one process makes of the run without any kill."""
    store, state, threads = MemoryStore(), tmp_path / "unbroken", torch.get_num_threads()
    write_run(store, write_dataset(store), overrides={**every_term, **BARE})
    open_attempt(store, 0)
    session = Session(store, Start(RUN, 0, state), Ranks(), Faults(), lambda: False)
    try:
        assert session.train() == "completed"
    finally:
        session.close()
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    return steps(state, 0)


@pytest.mark.parametrize(
    ("ranks", "threads", "parallel"),
    [
        (1, 4, "ordered"),
        pytest.param(2, 1, "ordered", marks=pytest.mark.long),
        (2, 1, "ddp"),
        (4, 1, "ordered"),
    ],
)
def test_a_killed_rank_costs_nothing_and_batches_do_not_depend_on_the_ranks(
    store_settings: StoreSettings,
    tmp_path: Path,
    write_dataset,
    write_run,
    open_attempt,
    every_term,
    unbroken: dict[int, tuple[str, str]],
    ranks: int,
    threads: int,
    parallel: str,
) -> None:
    """With every term of the method: kill a rank, resume, compare what both starts made bit by bit.

    Batches (ids, pixels, local crops, masks, dropped branches) are those of one process; losses are close to its.
    """
    store, state, marker = open_store(store_settings), tmp_path / "ranks", tmp_path / "killed"
    # Ranks evaluate together in mid-run; the one process did not.
    looked = {"eval.knn": True, "eval.every_steps": 4}
    overrides = {**every_term, **BARE, **looked, "data.threads": threads, "execution.parallel": parallel}
    if ranks > 1:
        overrides |= {"data.cache_disk_mib": 1, "data.fetch_threads": 8}
    write_run(store, write_dataset(store), ranks=ranks, overrides=overrides)
    open_attempt(store, 0)
    faults = f"train.step:unit={KILLED}:kill:{marker}"
    assert finish(begin(store_settings, state, ranks=ranks, attempt=0, faults=faults)) == ExitCode.LOST_RANK
    assert ending(state, 0)["reason"] == "lost_rank"
    assert marker.exists(), "the fault must fall inside the run"
    before = steps(state, 0)
    # Its ranks open the next attempt themselves, as those of a replaced pod do.
    assert finish(begin(store_settings, state, ranks=ranks, attempt=0, new=True)) == 0
    after = steps(state, 1)
    assert 0 < min(after) - 1 < KILLED - 1, "resumed after the beginning and before the step that fell"
    shared = sorted(set(before) & set(after))
    assert shared
    assert [after[step] for step in shared] == [before[step] for step in shared]
    final = {**before, **after}
    assert ending(state, 1)["reason"] == "completed"
    assert {step: batch for step, (_, batch) in final.items()} == {step: batch for step, (_, batch) in unbroken.items()}
    assert (len(list((state / "shards").glob("??/*.tar"))) == 8) is (ranks > 1), "one fetch of each, for all ranks"
    totals, expected = ({step: float.fromhex(loss) for step, (loss, _) in of.items()} for of in (final, unbroken))
    assert totals == pytest.approx(expected, rel=1e-3)


@pytest.mark.long
def test_sigterm_saves_the_step_in_hand(
    store_settings: StoreSettings, tmp_path: Path, write_dataset, write_run, open_attempt, every_term
) -> None:
    """And ends with the code that schedulers do not count; the grace period is the default one."""
    store, state = open_store(store_settings), tmp_path / "ranks"
    overrides = {**every_term, **BARE, "schedule.steps": 5000, "checkpoint.every_steps": 5000}
    write_run(store, write_dataset(store), ranks=2, overrides=overrides)
    open_attempt(store, 0)
    child = begin(store_settings, state, ranks=2, attempt=0)
    journal, deadline = state / "runs" / RUN / "journal-000000.jsonl", time.monotonic() + 120
    while not (journal.exists() and steps(state, 0)):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    child.terminate()
    assert finish(child) == ExitCode.STOPPED
    ended = ending(state, 0)
    assert (ended["reason"], ended["step"]) == ("stopped", max(steps(state, 0)))
    assert store.head(layout.checkpoint_commit(RUN, ended["step"], 0)) is not None
