"""Evaluations during a run: what they tell, that they change nothing of it, and that ranks share them."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from synfarm.contracts import layout
from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.endings import exit_reason
from synfarm_trainer.evals.report import reports
from synfarm_trainer.evals.sets.looked_at import Looked
from synfarm_trainer.models.vit import build_vit, init_parameters
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"
OFTEN: dict[str, object] = {"eval.every_steps": 2, "eval.patch_pca_captions": 1, "eval.labelled": "own/shapes"}


class _Hook(Faults):
    def __init__(self, action: Callable[[int], None]) -> None:
        super().__init__()
        self._action = action

    def reach(self, point: str, unit: int | None = None) -> None:
        self._action(unit or 0)


@pytest.fixture(autouse=True)
def _torch_state():
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A folder of sets with one in it: two classes in class folders."""
    for split, count in (("train", 12), ("test", 6)):
        for label, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
            folder = tmp_path / "sets" / "own" / "shapes" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (20 + i, 24), tuple(c + i for c in colour)).save(folder / f"{i}.png")
    return tmp_path / "sets"


@pytest.fixture
def train(tmp_path: Path, write_dataset, write_run, open_attempt, every_term):
    """(store, attempt, overrides, sets, action) to the lines of a run's journal."""

    def run(store, overrides, *, attempt=0, sets=None, action=lambda step: None) -> list[dict]:
        if store.head(layout.run(RUN)) is None:
            write_run(store, write_dataset(store), overrides={**every_term, "eval.patch_pca_captions": 1, **overrides})
        open_attempt(store, attempt)
        session = Session(store, Start(RUN, attempt, tmp_path), Ranks(), _Hook(action), lambda: False, sets=sets)
        try:
            session.train()
        finally:
            session.close()
            path = tmp_path / "runs" / RUN / f"journal-{attempt:06d}.jsonl"
            run.lines = [json.loads(line) for line in path.read_text().splitlines()]
        return run.lines

    return run


def losses(lines: list[dict]) -> dict[int, tuple[str, str]]:
    steps = [line["data"] for line in lines if line["type"] == "step"]
    return {step["step"]: (step["loss_hex"], step["batch_sha256"]) for step in steps}


def evaluated(lines: list[dict]) -> list[tuple[int, str]]:
    return [(line["data"]["step"], line["data"]["name"]) for line in lines if line["type"] == "eval"]


def generators() -> tuple[object, ...]:
    return random.getstate(), str(np.random.get_state()), bytes(torch.get_rng_state().numpy())


def test_evaluations_every_few_steps_change_no_bit_of_the_run_and_no_generator(train, sets: Path) -> None:
    bare = {"schedule.steps": 5, "eval.knn": False, "eval.patch_pca": False}
    without = losses(train(MemoryStore(), bare))
    store, states = MemoryStore(), []
    lines = train(
        store, {**OFTEN, "schedule.steps": 5}, attempt=1, sets=sets, action=lambda step: states.append(generators())
    )
    assert losses(lines) == without
    assert [states[i] == states[i - 1] for i in (2, 4)] == [True] * 2, "evaluated between these steps"
    assert evaluated(lines) == [(step, name) for step in (0, 2, 4, 5) for name in ("knn", "knn-labelled")]
    own = json.loads(store.get(layout.eval_record(RUN, 4, "knn.json")))
    assert own["floors"] == json.loads(store.get(layout.eval_record(RUN, 0, "knn.json")))["floors"]
    told = json.loads(store.get(layout.eval_record(RUN, 4, "knn-labelled.json")))
    assert (told["labelled"], told["network"], told["step"]) == ("own/shapes", "teacher backbone", 4)
    assert (told["classes"], told["bank_images"], told["test_images"], told["top1"]) == (2, 19, 12, 1.0)
    pictures = {info.key.rpartition("/")[2] for info in store.list(layout.export_prefix(RUN))}
    assert {f"patch-pca{step}.png" for step in ("", "-000000002", "-000000004")} <= pictures


@pytest.mark.parametrize("cut_off", ["knn", "knn-labelled"])
def test_an_evaluation_that_a_kill_cut_off_is_made_up_for(train, sets: Path, cut_off: str) -> None:
    overrides = {"eval.every_steps": 3, "eval.patch_pca": False, "schedule.steps": 4, "eval.labelled": "own/shapes"}
    whole, store = MemoryStore(), MemoryStore()
    train(whole, overrides, sets=sets)
    put = store.put

    def away(key: str, data: bytes, **more: object) -> object:
        if key == layout.eval_record(RUN, 3, f"{cut_off}.json"):
            raise RuntimeError("killed")
        return put(key, data, **more)

    store.put = away
    with pytest.raises(RuntimeError, match="killed"):
        train(store, overrides, attempt=1, sets=sets)
    store.put = put
    again = evaluated(train(store, {}, attempt=2, sets=sets))
    assert again == [(step, name) for step in (3, 4) for name in ("knn", "knn-labelled")]
    key = layout.eval_record(RUN, 3, f"{cut_off}.json")
    assert store.get(key) == whole.get(key)


def test_seconds_of_an_evaluation_are_no_steps_seconds(train) -> None:
    """Told by a clock of our own: each evaluation takes an hour of it."""
    import synfarm_trainer.session as session
    from synfarm_trainer import loop

    now, clock = [0.0], loop.time.perf_counter
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.time, "perf_counter", lambda: now[0] + clock())
        original = session.Evaluation.frozen_features

        def slow(self, objective, step):
            now[0] += 3600
            return original(self, objective, step)

        patch.setattr(session.Evaluation, "frozen_features", slow)
        quick = {"eval.every_steps": 1, "eval.patch_pca": False, "schedule.steps": 3, "eval.knn": False}
        lines = train(MemoryStore(), quick)
    assert [line["data"]["seconds"] < 600 for line in lines if line["type"] == "step"] == [True] * 3


@pytest.mark.parametrize(
    ("overrides", "given", "told"),
    [
        ({"eval.labelled": "birds"}, False, r"eval\.labelled: this trainer has no folder .* SYNFARM_TRAINER_SETS"),
        ({"eval.labelled": "birds"}, True, r"eval\.labelled: .*birds: there is nothing"),
    ],
)
def test_a_set_that_is_not_there_ends_the_run_before_its_first_step(
    train, sets: Path, overrides: dict[str, object], given: bool, told: str
) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        train(MemoryStore(), overrides, sets=sets if given else None)
    assert exit_reason(caught.value, building=True) == "config"


@pytest.mark.parametrize("name", ["/etc", "../other", "a/../../b"])
def test_a_set_outside_of_the_trainers_folder_is_refused(small_config, name: str) -> None:
    with pytest.raises(ValueError, match=r"^eval\.labelled: must be a folder below"):
        small_config({"eval.labelled": name})


@dataclass(frozen=True)
class _Threads(Ranks):
    """Ranks that are threads of this process and meet at a barrier."""

    barrier: threading.Barrier = field(kw_only=True)
    place: list[Tensor | None] = field(kw_only=True)

    def gather(self, rows: Tensor) -> Tensor:
        self.place[self.rank] = rows
        self.barrier.wait(60)
        found = torch.cat([part for part in self.place if part is not None])
        self.barrier.wait(60)
        return found


def test_ranks_that_share_the_images_find_what_one_finds(small_config) -> None:
    config = small_config({"eval.linear": True, "eval.linear_penalties": 2})
    network = build_vit(config.model, 16)
    init_parameters(network, 1)
    draw = np.random.default_rng(0)
    labels = np.arange(42) % 3
    pixels = (draw.integers(0, 60, (42, 16, 16, 3)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    every = Looked(pixels, labels, np.arange(42) // 2)

    def found(ranks: Ranks) -> list[dict]:
        mine = every.captions % ranks.world == ranks.rank
        part = Looked(pixels[mine], labels[mine], every.captions[mine])
        return list(reports(network, part, part, config.eval, common={"step": 1}, classes=3, ranks=ranks))

    (knn, linear), world = found(Ranks()), 4
    barrier, place = threading.Barrier(world), [None] * world
    ranks = [_Threads(rank, world, barrier=barrier, place=place) for rank in range(world)]
    with ThreadPoolExecutor(world) as pool:
        shared = list(pool.map(found, ranks))
    assert shared[1:] == [[], [], []]
    assert shared[0][0] == knn
    assert shared[0][1] == pytest.approx(linear)
