"""A whole run with its blocks compiled by the real compiler: the losses of the run as written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler on CPUs")
# torch.compile itself looks at the gradient of what enters a block, which came out of another.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_compiled_run_has_the_losses_of_the_run_as_written_and_compiles_only_at_first(
    tmp_path: Path, write_dataset, write_run, open_attempt
) -> None:
    steps = {}
    threads = torch.get_num_threads()
    for way in ("none", "blocks"):
        torch._dynamo.reset()
        store = MemoryStore()
        settings = {"execution.compile": way, "schedule.steps": 6, "eval.knn": False, "model.drop_path": 0.25}
        write_run(store, write_dataset(store), overrides=settings)
        open_attempt(store, 0)
        session = Session(store, Start(RUN, 0, tmp_path / way), Ranks(), Faults(), lambda: False)
        try:
            assert session.train() == "completed"
        finally:
            session.close()
            torch.use_deterministic_algorithms(False)
            torch.set_num_threads(threads)
        lines = [
            json.loads(x) for x in (tmp_path / way / "runs" / RUN / "journal-000000.jsonl").read_text().splitlines()
        ]
        assert not [line for line in lines if "compile_failed" in line["data"]]
        steps[way] = [line["data"] for line in lines if line["type"] == "step"]
    for written, compiled in zip(steps["none"], steps["blocks"], strict=True):
        assert compiled["batch_sha256"] == written["batch_sha256"]
        assert compiled["losses"] == pytest.approx(written["losses"], rel=1e-3)
    graphs = [step["monitors"]["compiled_graphs"] for step in steps["blocks"]]
    assert graphs[1] > 0
    assert len(set(graphs[1:])) == 1, "later steps compile nothing more"
