"""Whose turn it is, which devices a run gets, and that no GPU is given to two runs of a machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from synfarm_trainer.api.queue import RunQueue, Waiting
from synfarm_trainer.launch.devices import ALL, DeviceSet, parse_devices, suitable
from synfarm_trainer.launch.leases import Leases
from synfarm_trainer.settings import TrainerSettings

WaitFor = Callable[[Callable[[], Any]], Any]
SMALL, LARGE, CPU = DeviceSet("0", ("0",)), DeviceSet("1,2", ("1", "2")), DeviceSet("cpu")


def _queue(*runs: tuple[str, str, tuple[DeviceSet, ...]]) -> RunQueue:
    queue = RunQueue()
    for run, owner, sets in runs:
        queue.add(Waiting(run, owner, sets))
    return queue


def test_an_owners_second_run_waits_for_everyones_first() -> None:
    queue = _queue(*((name, name[0], (ALL,)) for name in ("a1", "a2", "a3", "b1", "c1", "b2")))
    assert [waiting.run for waiting in queue.order([])] == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert [waiting.run for waiting in queue.order(["a", "b"])] == ["c1", "a1", "b1", "a2", "b2", "a3"]


def test_a_run_that_needs_more_does_not_hold_up_the_others() -> None:
    queue = _queue(("large", "a", (LARGE,)), ("any", "b", (SMALL, LARGE)))
    assert queue.next_for(SMALL, []) == "any"
    assert queue.next_for(LARGE, []) == "large"
    assert queue.next_for(CPU, []) is None


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("", [("all", ())]),
        ("0,1;2,3", [("0,1", ("0", "1")), ("2,3", ("2", "3"))]),
        ("cpu;cpu", [("cpu", ()), ("cpu", ())]),
        (" GPU-5e , 1 ;cpu", [("GPU-5e,1", ("GPU-5e", "1")), ("cpu", ())]),
    ],
)
def test_sets_of_devices(text: str, sets: list[tuple[str, tuple[str, ...]]]) -> None:
    assert [(devices.name, devices.gpus) for devices in parse_devices(text)] == sets


@pytest.mark.parametrize(("text", "says"), [("0,1;1", "GPU 1 is listed twice"), ("0;;1", "no set"), ("gpu", "no set")])
def test_sets_that_cannot_be(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"SYNFARM_TRAINER_DEVICES: .*{says}"):
        TrainerSettings(devices=text)


@pytest.mark.parametrize(
    ("ranks", "device", "sets"),
    [
        (1, "auto", [SMALL, LARGE]),
        (2, "auto", [LARGE]),
        (2, "cuda", [LARGE]),
        (3, "auto", [CPU]),
        (3, "cuda", []),
        (1, "cpu", [CPU]),
        (9, "cpu", []),
    ],
)
def test_where_a_run_may_go(ranks: int, device: str, sets: list[DeviceSet]) -> None:
    assert list(suitable((SMALL, LARGE, CPU), ranks, device, most=8)) == sets
    assert suitable((ALL,), ranks, device, most=8) == ((ALL,) if ranks <= 8 else ())


def test_a_gpu_is_leased_once_on_a_machine_and_free_after_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from synfarm_trainer.launch.devices import DeviceSet; from synfarm_trainer.launch.leases import Leases\n"
        f"lease = Leases(Path({str(tmp_path)!r})).take(DeviceSet('0,1', ('0', '1')))\n"
        "print('taken', flush=True); time.sleep(600)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "taken\n"
        leases = Leases(tmp_path)
        assert leases.take(LARGE) is None
        two, cpu = leases.take(DeviceSet("2", ("2",))), leases.take(CPU)
        assert two is not None, "what is refused keeps nothing"
        assert cpu is not None
        assert leases.take(CPU) is not None
        other.kill()
        other.wait()
        two.release()
        assert leases.take(LARGE) is not None
    finally:
        other.kill()
        other.wait()
        if other.stdout:
            other.stdout.close()


def test_who_takes_whatever_the_machine_has_shares_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (nodes := tmp_path / "dev").mkdir()
    leases = Leases(tmp_path / "leases", nodes=nodes)
    assert leases.take(ALL) is not None
    assert leases.take(ALL) is not None, "CPUs need no lease"
    (nodes / "nvidia0").touch()
    named = [leases.take(SMALL), leases.take(LARGE)]
    assert all(named), "sets of GPUs lie beside each other"
    assert leases.take(ALL) is None
    for lease in named:
        lease.release()
    whole = leases.take(ALL)
    assert whole is not None
    assert (leases.take(ALL), leases.take(SMALL)) == (None, None)
    assert leases.take(CPU) is not None
    whole.release()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    mine = leases.take(ALL)
    assert mine is not None
    assert (leases.take(SMALL), leases.take(LARGE) is not None) == (None, True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert leases.take(ALL) is not None, "it sees no GPU"


SOME, OTHERS = DeviceSet("0,1", ("0", "1")), DeviceSet("2", ("2",))


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Leases]:
    """As many services as are asked for, on one machine with GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (nodes := tmp_path / "dev").mkdir()
    (nodes / "nvidia0").touch()
    return lambda: Leases(tmp_path / "leases", nodes=nodes)


def test_who_needs_the_machine_alone_is_not_passed_by_for_ever(services: Callable[[], Leases]) -> None:
    one, two, whole = services(), services(), services()
    first, second = one.take(SOME), two.take(OTHERS)
    assert first is not None
    assert second is not None
    assert whole.take(ALL) is None
    first.release()
    assert one.take(SOME) is None, "its next run waits behind the one that needs all"
    assert whole.take(ALL) is None
    second.release()
    assert two.take(OTHERS) is None
    alone = whole.take(ALL)
    assert alone is not None
    assert (one.take(SOME), two.take(OTHERS)) == (None, None)
    alone.release()
    assert whole.take(ALL) is None, "nor does it keep the machine from those with sets"
    again = [one.take(SOME), two.take(OTHERS)]
    assert all(again)
    assert whole.take(ALL) is None


def test_a_turn_that_is_given_up_or_was_a_dead_ones_is_nobodys(services: Callable[[], Leases]) -> None:
    one, whole = services(), services()
    lease = one.take(SOME)
    assert lease is not None
    assert whole.take(ALL) is None
    lease.release()
    whole.leave(ALL)
    lease = one.take(SOME)
    assert lease is not None
    same = services()
    assert same.take(SOME) is None, "another service has the GPUs themselves"
    assert whole.take(ALL) is None
    lease.release()
    assert whole.take(ALL) is not None, "who waits for a GPU keeps no turn"


def test_two_users_share_a_folder_of_leases(
    services: Callable[[], Leases], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of another user can be read and not written; one that an older version made not even that."""
    theirs, ours = services(), services()
    before = os.umask(0o077)
    try:
        held = theirs.take(SOME)
    finally:
        os.umask(before)
    assert held is not None
    locks = sorted((tmp_path / "leases").glob("*.lock"))
    assert [(lock.name, lock.stat().st_mode & 0o777) for lock in locks] == [
        (name, 0o644) for name in ("gpu-0.lock", "gpu-1.lock", "machine.lock", "turn.lock")
    ]
    real, closed = os.open, set[str]()

    def of_another_user(path: Path, flags: int, *mode: int) -> int:
        if Path(path) in locks and (flags & (os.O_RDWR | os.O_CREAT) or Path(path).name in closed):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", of_another_user)
    ours.prove([SOME, OTHERS])
    assert (ours.take(SOME), ours.take(ALL)) == (None, None)
    ours.leave(ALL)
    assert ours.take(OTHERS) is not None
    held.release()
    assert ours.take(SOME) is not None
    closed.add("machine.lock")
    with pytest.raises(ValueError, match=r"SYNFARM_TRAINER_LEASE_DIR: .*machine\.lock is of user .*chmod a\+r"):
        ours.prove([ALL])


def _submit(client: TestClient, job: str, **body: Any) -> str:
    answer = client.post("/v1/runs", json={"jobs": [job], **body})
    assert answer.status_code == 201, answer.text
    run: str = answer.json()["run"]
    return run


def test_two_sets_run_two_runs_and_views_tell_place_and_set(service: Any, wait_for: WaitFor, ended: Any) -> None:
    service.settings["devices"] = "0;1,2"
    service.plan({"steps": 2, "end": "hang"})
    job = service.add_job()
    with service.open() as client:

        def view(run: str) -> Any:
            return client.get(f"/v1/runs/{run}").json()

        both = _submit(client, job, ranks=2)
        wait_for(lambda: view(both)["state"] == "running")
        waiting = _submit(client, job, ranks=2)
        one = _submit(client, job)
        wait_for(lambda: view(one)["state"] == "running")
        last = _submit(client, job)
        assert [view(run)["devices"] for run in (both, waiting, one)] == ["1,2", None, "0"]
        assert [view(run)["queue_position"] for run in (both, waiting, one, last)] == [None, 1, None, 2]
        seen = [(service.state_dir / "runs" / run / "devices-0").read_text() for run in (both, one)]
        assert seen == ["1,2", "0"]
        client.post(f"/v1/runs/{both}/stop")
        wait_for(lambda: view(waiting)["state"] == "running")
        assert view(waiting)["devices"] == "1,2"
        client.post(f"/v1/runs/{last}/stop")
        for run in (waiting, one):
            client.post(f"/v1/runs/{run}/stop")
            assert ended(client, run)["state"] == "stopped"


def test_a_set_that_another_service_has_is_waited_for(service: Any, wait_for: WaitFor, ended: Any) -> None:
    service.settings["devices"] = "0"
    service.plan({"steps": 1, "end": "completed"})
    lease = Leases(service.state_dir / "leases").take(SMALL)
    assert lease is not None
    with service.open() as client:
        run = _submit(client, service.add_job())
        view = wait_for(lambda: (found := client.get(f"/v1/runs/{run}").json())["reason"] and found)
        assert (view["queue_position"], view["reason"][:32]) == (1, "waits: another trainer of this m")
        lease.release()
        assert (found := ended(client, run))["state"] == "completed"
        assert found["reason"] is None


def test_a_lock_that_cannot_be_opened_leaves_no_other_one_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nodes = tmp_path / "dev"
    nodes.mkdir()
    (nodes / "nvidia0").touch()
    leases = Leases(tmp_path / "leases", nodes=nodes)
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "gpu-0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="gpu-0"):
        leases.take(DeviceSet("0", ("0",)))
    assert leases.take(ALL) is not None


def test_a_folder_of_leases_that_cannot_be_written_is_refused_at_the_start(service: Any) -> None:
    (service.state_dir / "leases").write_text("a file")
    service.open()
    service.settings["devices"] = "0"
    with pytest.raises(ValueError, match="SYNFARM_TRAINER_LEASE_DIR: "):
        service.open()


def test_a_run_that_no_set_can_take_any_more_says_so(service: Any, wait_for: WaitFor) -> None:
    service.plan({"steps": 1, "end": "hang"})
    job = service.add_job()
    with service.open() as client:
        run = _submit(client, job, ranks=4)
        wait_for(lambda: client.get(f"/v1/runs/{run}").json()["state"] == "running")
    service.settings["devices"] = "0;1,2"
    with service.open() as client:

        def waits() -> Any:
            found = client.get(f"/v1/runs/{run}").json()
            return found if found["reason"] else None

        found = wait_for(waits)
        assert (found["state"], "no set of SYNFARM_TRAINER_DEVICES (0;1,2)" in found["reason"]) == ("queued", True)
        assert client.post(f"/v1/runs/{run}/stop").json()["state"] == "stopped"
