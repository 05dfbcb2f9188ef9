"""Real images as the source of a run: imported into a real store, trained on with one view, gone on with."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synfarm.auth import Principal
from synfarm.contracts import layout
from synfarm.faults import Faults
from synfarm.importing.importing import ImportAsked, import_images
from synfarm.importing.planning import plan_import
from synfarm.storage.protocol import ObjectStore
from synfarm_trainer.api.sources import find_source
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

pytestmark = pytest.mark.integration

RUNS = ("01hzzzzzzzzzzzzzzzzzzzzzz1", "01hzzzzzzzzzzzzzzzzzzzzzz3")
OVERRIDES: dict[str, object] = {
    "objective.name": "simclr",
    "data.crops": 2,
    "data.views": 1,
    "eval.patch_pca": False,
    "schedule.steps": 6,
}


class Killed(Faults):
    """Before step 5, once the checkpoint of step 3 is committed: it is uploaded beside the steps."""

    def __init__(self, store: ObjectStore, run: str) -> None:
        super().__init__()
        self._store, self._key = store, layout.checkpoint_commit(run, 3, 0)

    def reach(self, point: str, unit: int | None = None) -> None:
        if point == "train.step" and unit == 5:
            until = time.monotonic() + 60
            while self._store.head(self._key) is None and time.monotonic() < until:
                time.sleep(0.01)
            raise RuntimeError("killed")


@pytest.fixture
def job(store: ObjectStore, tmp_path: Path) -> str:
    """Four classes of images of many shapes, some of them PNG."""
    drawn = np.random.default_rng(3)
    for number in range(48):
        folder = tmp_path / "photos" / f"class {number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        width, height = (int(side) for side in drawn.integers(20, 60, 2))
        pixels = drawn.integers(0, 100, (height, width, 3), dtype=np.uint8) + np.uint8(35 * (number % 4))
        made = io.BytesIO()
        Image.fromarray(pixels).save(made, "PNG" if number % 5 == 0 else "JPEG")
        (folder / f"{number}.{'png' if number % 5 == 0 else 'jpg'}").write_bytes(made.getvalue())
    plan = plan_import([tmp_path / "photos"], per_unit=8)
    asked = ImportAsked(name="photos", owner="local", source=plan.source, per_unit=plan.per_unit)
    return import_images(store, plan, asked).job


def test_a_run_on_imported_images_completes_and_resumes_to_the_same_bits(
    store: ObjectStore, job: str, tmp_path: Path, write_run: Callable[..., object], open_attempt: Callable[..., object]
) -> None:
    threads = torch.get_num_threads()
    who = Principal(owner="local", role="admin")
    source = find_source(store, job, who, {"data": {"views": 1}}, follow=False)
    assert source.captions == 48

    def session(run: str, attempt: int, faults: Faults) -> Session:
        if attempt == 0:
            write_run(store, source.ref, run=run, overrides=OVERRIDES)
        open_attempt(store, attempt, run)
        return Session(store, Start(run, attempt, tmp_path), Ranks(), faults, lambda: False)

    def finish(found: Session) -> str:
        try:
            return found.train()
        finally:
            found.close()

    def losses(run: str, attempt: int) -> dict[int, tuple[str, str]]:
        path = tmp_path / "runs" / run / f"journal-{attempt:06d}.jsonl"
        steps = [line["data"] for line in map(json.loads, path.read_text().splitlines()) if line["type"] == "step"]
        return {step["step"]: (step["loss_hex"], step["batch_sha256"]) for step in steps}

    try:
        assert finish(session(RUNS[0], 0, Faults())) == "completed"
        whole = losses(RUNS[0], 0)
        with pytest.raises(RuntimeError, match="killed"):
            finish(session(RUNS[1], 0, Killed(store, RUNS[1])))
        assert finish(session(RUNS[1], 1, Faults())) == "completed"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    assert losses(RUNS[1], 1) == {step: whole[step] for step in (4, 5, 6)}
    knn = json.loads(store.get(layout.eval_record(RUNS[0], 6, "knn.json")))
    assert (knn["classes"], knn["test_images"]) == (4, knn["test_captions"])
