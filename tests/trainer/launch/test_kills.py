"""Kill -9 of a rank, of torchrun's agent and of the service, with real processes and a real store.

A fault hook stops the first rank that reaches step 8, after the checkpoints of steps 3 and 6, so that every kill
falls inside work. The undisturbed run comes second, from the same service, with the same request.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.trainer.chaos.trainer_service import SMALL_RUN, TrainerService, until

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.settings import StoreSettings
from synfarm.storage.protocol import ObjectStore

SMALL: dict[str, object] = {
    **SMALL_RUN,
    "data.block_shards": 3,
    "schedule.steps": 12,
    "checkpoint.every_steps": 3,
    "eval.bootstrap": 50,
}


_MORE = [
    ("rank", 1),
    ("rank", 2),
    ("rank", 3),
    ("agent", 2),
    ("agent", 3),
    ("service", 1),
    ("service", 2),
    ("service", 3),
]
"""The other pairs, `make test-long`; `test_torchrun.py` kills a rank at 1, 2 and 4 ranks in `make test`."""


def _losses(service: TrainerService, run: str) -> dict[int, tuple[str, str]]:
    return {step: (line["loss_hex"], line["batch_sha256"]) for step, line in service.metrics(run).items()}


@pytest.fixture
def start_service(tmp_path: Path, store_settings: StoreSettings) -> Iterator[Callable[..., TrainerService]]:
    started: list[TrainerService] = []

    (temporary := tmp_path / "temporary").mkdir()

    def start(faults: str) -> TrainerService:
        extra = {
            "SYNFARM_FAULTS": faults,
            "SYNFARM_TRAINER_BARREN_RESTARTS": "10",
            "TMPDIR": str(temporary),
        }
        started.append(TrainerService(tmp_path, store_settings, store_settings.endpoint, extra))
        return started[-1]

    yield start
    for service in started:
        service.close()


@pytest.fixture
def job(store: ObjectStore, write_dataset: Callable[..., Any]) -> str:
    found: str = write_dataset(store).job
    spec = JobSpec(
        job=found,
        owner="local",
        created_at=utc_now(),
        captions_per_unit=8,
        captions=64,
        concepts=(Concept(name="thing"),),
    )
    store.create(layout.job(found), spec.to_bytes())
    return found


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_ten_kills_at_random_steps_change_no_loss(
    ranks: int, tmp_path: Path, job: str, start_service: Callable[..., TrainerService]
) -> None:
    """A rank kills itself (SIGKILL) when it reaches the step, whichever rank is first; the others are ended for it."""
    steps = sorted(random.Random(ranks).sample(range(4, 60), 10))
    faults = [f"train.step:unit={step}:kill:{tmp_path / f'fell-{step}'}" for step in steps]
    service = start_service(";".join(faults))
    settings = {**SMALL, "data.captions_per_batch": 24, "schedule.steps": 60}
    run = service.submit(job, ranks, settings)
    after = service.end(run, 600)
    assert (after["state"], after["step"], after["attempt"]) == ("completed", 60, 10), after
    assert all((tmp_path / f"fell-{step}").exists() for step in steps)
    calm = service.submit(job, ranks, settings)
    assert service.end(calm, 300)["attempt"] == 0
    assert sorted(_losses(service, calm)) == list(range(1, 61))
    assert _losses(service, run) == _losses(service, calm)


@pytest.mark.integration
@pytest.mark.chaos
@pytest.mark.parametrize(
    ("victim", "ranks"),
    [
        ("agent", 1),
        *(pytest.param(victim, ranks, marks=pytest.mark.long) for victim, ranks in _MORE),
    ],
)
def test_a_killed_run_goes_on_as_it_would_have(
    victim: str,
    ranks: int,
    tmp_path: Path,
    job: str,
    start_service: Callable[..., TrainerService],
) -> None:
    marker = tmp_path / "fell"
    service = start_service(f"train.step:unit=8:stop:{marker}")
    run = service.submit(job, ranks, SMALL)
    until(marker.exists, "step 8 is reached")

    def fell_at_step_8() -> bool:
        # Another rank may have been stopped while rank 0 still writes step 7 into the journal that the service follows.
        # The upload of step 6 may have been stopped too; that of step 3 had ended before it began.
        view = service.view(run)
        assert (view["step"] <= 7, view["attempt"]) == (True, 0), view
        return view["state"] == "running" and view["step"] == 7 and view["last_checkpoint"] in {3, 6}

    until(fell_at_step_8, "step 7 and a checkpoint are known")
    agents, rank_pids = service.processes(run)
    assert (len(agents), len(rank_pids)) == (1, ranks)
    if victim == "service":
        service.leave(signal.SIGKILL)
        service.start()
    else:
        os.kill(agents[0] if victim == "agent" else int(marker.read_text().split()[0]), signal.SIGKILL)
    after = service.end(run, 150)
    assert (after["state"], after["step"], after["attempt"]) == ("completed", 12, 1), after
    assert after["resumed_step"] in {3, 6}
    assert service.processes(run) == ([], []), "no process of an earlier start survives"
    assert not list((tmp_path / "temporary").glob("torchelastic_*")), "what torchrun notes lies with the run"
    undisturbed = service.submit(job, ranks, SMALL)
    assert service.end(undisturbed, 150)["attempt"] == 0
    calm = _losses(service, undisturbed)
    assert sorted(calm) == list(range(1, 13))
    assert _losses(service, run) == calm
    assert set(after["evals"]) == {"0", "12"}
