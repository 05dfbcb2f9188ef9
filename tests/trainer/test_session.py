"""A whole run in one process over an in-memory store."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load
from timm.models.vision_transformer import VisionTransformer

from synfarm.contracts import layout
from synfarm.contracts.runs import StepMetrics
from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.checkpoint import CheckpointInvalid, CheckpointStore, Fenced
from synfarm_trainer.data.fetch import DatasetDamaged, ShardCache
from synfarm_trainer.endings import exit_reason
from synfarm_trainer.loop import NonFinite
from synfarm_trainer.losses.clip import LOG_SCALE_LIMIT
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

RUN = "01hzzzzzzzzzzzzzzzzzzzzzz1"


class Hook(Faults):
    """Something to do before each step."""

    def __init__(self, action: Callable[[int], None]) -> None:
        super().__init__()
        self._action = action

    def reach(self, point: str, unit: int | None = None) -> None:
        if point == "train.step":
            self._action(unit or 0)


@pytest.fixture(autouse=True)
def _torch_state():
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def begin(tmp_path: Path, write_dataset, write_run, open_attempt):
    """(store, attempt, overrides, action, stop) to a session; a store without a dataset is given one."""

    def make(store, attempt=0, overrides=None, action=lambda step: None, stop=lambda: False) -> Session:
        if store.head(layout.run(RUN)) is None:
            write_run(store, write_dataset(store), overrides=overrides)
        open_attempt(store, attempt)
        return Session(store, Start(RUN, attempt, tmp_path), Ranks(), Hook(action), stop)

    def journal(attempt: int) -> list[dict]:
        path = tmp_path / "runs" / RUN / f"journal-{attempt:06d}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    make.journal = journal
    return make


def finish(session: Session) -> str:
    try:
        return session.train()
    finally:
        session.close()


def losses(lines: list[dict]) -> dict[int, tuple[str, str]]:
    return {
        line["data"]["step"]: (line["data"]["loss_hex"], line["data"]["batch_sha256"])
        for line in lines
        if line["type"] == "step"
    }


def test_a_run_leaves_metrics_checkpoints_evals_and_an_export_that_timm_loads(begin) -> None:
    store = MemoryStore()
    session = begin(store, overrides={"eval.linear": True, "eval.linear_penalties": 2})
    assert finish(session) == "completed"
    lines = begin.journal(0)
    assert sorted(losses(lines)) == list(range(1, 13))
    evals = [(line["data"]["step"], line["data"]["name"]) for line in lines if line["type"] == "eval"]
    assert evals == [(0, "knn"), (0, "linear"), (12, "knn"), (12, "linear")]
    assert [line["data"]["step"] for line in lines if line["type"] == "checkpoint"] == [3, 6, 9, 12]
    assert lines[-1]["data"] == {"state": "completed", "step": 12}
    uploaded = [
        StepMetrics.from_bytes(line)
        for info in store.list(layout.metrics_prefix(RUN))
        for line in store.get(info.key).splitlines()
    ]
    assert [metrics.step for metrics in uploaded] == list(range(1, 13))
    report = json.loads(store.get(layout.eval_record(RUN, 12, "knn.json")))
    assert report["test_images"] == 4 * report["test_captions"] == 64
    assert {"raw_pixels", "colour_histogram"} == set(report["floors"])
    probe = json.loads(store.get(layout.eval_record(RUN, 12, "linear.json")))
    assert 0 <= probe["top1"] <= 1
    assert probe["test_images"] == 64
    described = json.loads(store.get(layout.export_file(RUN, "backbone.json")))
    model = VisionTransformer(**described["arguments"])
    model.load_state_dict(load(store.get(layout.export_file(RUN, "backbone.safetensors"))))
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(model.eval()(images), session._objective.backbone.eval()(images))


def test_every_term_of_the_method_is_told_and_leaves_a_timm_backbone(begin, every_term) -> None:
    store = MemoryStore()
    session = begin(store, overrides={**every_term, "eval.knn": False})
    assert finish(session) == "completed"
    told = [StepMetrics.model_validate(line["data"]) for line in begin.journal(0) if line["type"] == "step"]
    for metrics in told:
        assert list(metrics.losses) == ["contrastive", "contrastive_local", "ibot", "total"]
        parts = [value for name, value in metrics.losses.items() if name != "total"]
        assert metrics.losses["total"] == pytest.approx(sum(parts))
        assert metrics.monitors["mask_share"] == 0.25
        assert 0 < metrics.monitors["target_entropy"] <= 1
        assert min(metrics.monitors["key_spread"], metrics.monitors["patch_spread"]) > 0
    assert told[0].monitors["teacher_temperature"] < told[-1].monitors["teacher_temperature"] == 0.07
    described = json.loads(store.get(layout.export_file(RUN, "backbone.json")))
    model = VisionTransformer(**described["arguments"])
    model.load_state_dict(load(store.get(layout.export_file(RUN, "backbone.safetensors"))))
    saved = load(store.get(layout.checkpoint_file(RUN, 12, 0, "student.safetensors")))
    assert {"mask_token", "patch_head.gain", "patch_head.prototypes", "predictor.0.weight"} <= set(saved)


PROTOTYPES: dict[str, object] = {
    "data.crops": 2,
    "data.views": 2,
    "local_crops.count": 2,
    "local_crops.size": 8,
    "objective.prototypes": 24,
    # Past the checkpoint that the run goes on from: until then the last layer has no moments.
    "objective.last_layer_frozen": 0.7,
}
CLIP: dict[str, object] = {
    "objective.name": "clip",
    "objective.text_depth": 2,
    "objective.context": 24,
    "data.views": 1,
}


@pytest.mark.parametrize(
    ("overrides", "terms", "network"),
    [
        ({"objective.name": "stablerep"}, ["contrastive"], "student"),
        ({"objective.name": "simclr", "data.crops": 2, "data.views": 2}, ["contrastive"], "student"),
        ({"objective.name": "supce", "data.views": 1}, ["cross_entropy"], "student"),
        ({"objective.name": "moco_v3", "data.crops": 2, "data.views": 2}, ["contrastive"], "teacher"),
        ({"objective.name": "mae", "mask.images": 1.0, "mask.ratio": [0.75, 0.75]}, ["pixels"], "student"),
        ({"objective.name": "dino", **PROTOTYPES}, ["dino"], "teacher"),
        ({"objective.name": "ibot", **PROTOTYPES}, ["dino", "ibot"], "teacher"),
        ({"objective.name": "dinov2", **PROTOTYPES}, ["dino", "ibot", "koleo"], "teacher"),
        (CLIP, ["contrastive"], "student"),
    ],
    ids=lambda value: value.get("objective.name") if isinstance(value, dict) else "",
)
def test_each_objective_trains_resumes_and_exports_its_network(
    begin, overrides: dict[str, object], terms: list[str], network: str
) -> None:
    overrides = {**overrides, "eval.patch_pca": False, "schedule.steps": 6}
    unbroken = MemoryStore()
    finish(begin(unbroken, overrides=overrides))
    whole = losses(begin.journal(0))
    told = [StepMetrics.model_validate(line["data"]) for line in begin.journal(0) if line["type"] == "step"]
    assert all(list(metrics.losses) == [*terms, "total"] for metrics in told)
    described = json.loads(unbroken.get(layout.export_file(RUN, "backbone.json")))
    assert described["network"] == network
    evaluated = json.loads(unbroken.get(layout.eval_record(RUN, 6, "knn.json")))
    assert evaluated["network"] == f"{network} backbone"
    VisionTransformer(**described["arguments"]).load_state_dict(
        load(unbroken.get(layout.export_file(RUN, "backbone.safetensors")))
    )

    def fail(step: int) -> None:
        if step == 5:
            raise RuntimeError("killed")

    store = MemoryStore()
    with pytest.raises(RuntimeError, match="killed"):
        finish(begin(store, overrides=overrides, action=fail))
    finish(begin(store, attempt=1, overrides=overrides))
    assert losses(begin.journal(1)) == {step: whole[step] for step in (4, 5, 6)}


def test_the_scale_of_clip_is_back_in_its_bounds_when_a_step_is_saved(begin) -> None:
    store = MemoryStore()
    session = begin(store, overrides={**CLIP, "eval.knn": False, "eval.patch_pca": False, "schedule.steps": 3})

    def leave(step: int) -> None:
        with torch.no_grad():
            session._objective.student.log_scale.fill_(7.0)

    session._trainer._reach = leave
    finish(session)
    saved = load(store.get(layout.checkpoint_file(RUN, 3, 0, "student.safetensors")))
    assert saved["log_scale"].item() == pytest.approx(LOG_SCALE_LIMIT)


def test_what_an_objective_holds_still_is_not_decayed_either(begin) -> None:
    store, overrides = MemoryStore(), {"objective.name": "moco_v3", "data.crops": 2, "data.views": 2}
    quick = {"schedule.steps": 6, "optim.weight_decay": 0.5, "eval.knn": False, "eval.patch_pca": False}
    finish(begin(store, overrides={**overrides, **quick}))
    third, last = (load(store.get(layout.checkpoint_file(RUN, step, 0, "student.safetensors"))) for step in (3, 6))
    still = {name for name in third if torch.equal(third[name], last[name])}
    assert still == {"backbone.patch_embed.proj.weight", "backbone.patch_embed.proj.bias"}


def test_the_picture_of_patch_features_shows_held_out_images(begin) -> None:
    store = MemoryStore()
    session = begin(store, overrides={"eval.knn": False, "eval.patch_pca_captions": 2})
    finish(session)
    said = json.loads(store.get(layout.export_file(RUN, "patch-pca.json")))
    assert [row["images"] for row in said["rows"]] == [[0, 1, 2, 3]] * 2
    assert len({row["concept"] for row in said["rows"]}) == 2
    held = {session._dataset.rows[row].caption_id for row in np.flatnonzero(session._plan.held)}
    assert {row["caption_id"] for row in said["rows"]} <= held
    assert (said["columns"], said["image_size"], said["step"]) == (["image", "untrained", "trained"], 32, 12)
    sheet = Image.open(io.BytesIO(store.get(layout.export_file(RUN, "patch-pca.png"))))
    tile, gap = said["tile"], said["gap"]
    assert sheet.size == (4 * (3 * tile + gap) - gap, 2 * (tile + gap) - gap)


def test_images_lost_during_the_run_cost_its_evaluation_and_not_its_network(begin) -> None:
    store = MemoryStore()
    session = begin(store, overrides={"schedule.steps": 1, "schedule.warmup_steps": 0})

    def lose(step: int) -> None:
        session._evaluation = replace(session._evaluation, cache=ShardCache(store, 1 << 20, wait_seconds=0.001))
        for shard in session._dataset.shards:
            store.delete(shard.key)

    session._trainer._reach = lose
    with pytest.raises(DatasetDamaged, match="is gone from the store"):
        finish(session)
    assert store.head(layout.export_file(RUN, "backbone.json")) is not None


def test_garbage_in_the_global_generators_and_more_threads_change_nothing(begin, every_term) -> None:
    every_term = {**every_term, "eval.knn": False, "eval.patch_pca": False}
    finish(begin(MemoryStore(), overrides=every_term))
    calm = losses(begin.journal(0))

    def garbage(step: int) -> None:
        random.seed(step * 31)
        np.random.seed(step * 37)
        torch.manual_seed(step * 41)

    more = {"data.threads": 4, "data.prefetch_steps": 5}
    finish(begin(MemoryStore(), attempt=1, overrides={**every_term, **more}, action=garbage))
    assert losses(begin.journal(1)) == calm


@pytest.mark.parametrize(("full", "micro"), [(False, 5), (True, 3)])
def test_a_micro_batch_gives_the_gradient_of_the_whole(begin, every_term, full: bool, micro: int) -> None:
    overrides = {**(every_term if full else {}), "schedule.steps": 3, "eval.knn": False}
    finish(begin(MemoryStore(), overrides=overrides))
    finish(begin(MemoryStore(), attempt=1, overrides={**overrides, "execution.micro_captions": micro}))
    whole, micro = losses(begin.journal(0)), losses(begin.journal(1))
    for step in whole:
        assert whole[step][1] == micro[step][1]
        assert float.fromhex(whole[step][0]) == pytest.approx(float.fromhex(micro[step][0]), rel=1e-5)


def test_networks_in_bfloat16_resume_evaluate_and_export_float32(begin, every_term) -> None:
    overrides = {**every_term, "schedule.steps": 4, "execution.precision": "bfloat16", "eval.patch_pca": False}
    finish(begin(MemoryStore(), overrides=overrides))
    unbroken = losses(begin.journal(0))
    store, steps = MemoryStore(), []
    assert finish(begin(store, 1, overrides, action=steps.append, stop=lambda: len(steps) == 2)) == "stopped"
    assert finish(begin(store, attempt=2)) == "completed"
    assert {**losses(begin.journal(1)), **losses(begin.journal(2))} == unbroken
    assert finish(begin(MemoryStore(), 3, {**overrides, "execution.precision": "float32"})) == "completed"
    for step, (loss, batch) in losses(begin.journal(3)).items():
        assert unbroken[step][1] == batch
        assert unbroken[step][0] != loss
        assert float.fromhex(unbroken[step][0]) == pytest.approx(float.fromhex(loss), rel=1e-2)
    weights = load(store.get(layout.export_file(RUN, "backbone.safetensors")))
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("cut", ["cpu", "device"])
def test_a_gpu_trains_and_resumes_near_a_cpu(begin, every_term, precision: str, cut: str) -> None:
    small = {**every_term, "schedule.steps": 4, "execution.augment": cut, "execution.deterministic": False}
    assert finish(begin(MemoryStore(), overrides={**small, "execution.device": "cpu"})) == "completed"
    store, steps = MemoryStore(), []
    on_gpu = {**small, "execution.device": "cuda", "execution.precision": precision}
    assert finish(begin(store, 1, on_gpu, action=steps.append, stop=lambda: len(steps) == 2)) == "stopped"
    assert finish(begin(store, attempt=2)) == "completed"
    found = {**losses(begin.journal(1)), **losses(begin.journal(2))}
    for step, (loss, _) in losses(begin.journal(0)).items():
        near = 1e-2 if precision == "bfloat16" or cut == "device" else 1e-3
        assert float.fromhex(found[step][0]) == pytest.approx(float.fromhex(loss), rel=near)


@pytest.mark.parametrize("full", [False, True])
def test_a_stop_is_a_checkpoint_and_the_run_goes_on_as_it_would_have(begin, every_term, full: bool) -> None:
    overrides = {**every_term, "eval.knn": False, "eval.patch_pca": False} if full else {}
    finish(begin(MemoryStore(), overrides=overrides))
    unbroken = losses(begin.journal(0))
    store, steps = MemoryStore(), []
    session = begin(store, attempt=1, overrides=overrides, action=steps.append, stop=lambda: len(steps) == 5)
    assert finish(session) == "stopped"
    resumed = begin(store, attempt=2)
    assert resumed.step == 5
    assert finish(resumed) == "completed"
    assert {**losses(begin.journal(1)), **losses(begin.journal(2))} == unbroken
    assert min(losses(begin.journal(2))) == 6


def test_a_superseded_start_cannot_commit(begin, open_attempt) -> None:
    store = MemoryStore()

    def supersede(step: int) -> None:
        if step == 5:
            open_attempt(store, 1)

    session = begin(store, action=supersede)
    with pytest.raises(Fenced, match=r"attempt 0 .* superseded by attempt 1") as caught:
        finish(session)
    assert exit_reason(caught.value) == "fenced"
    assert CheckpointStore(store, RUN, 0, "").committed() == [(0, 3)]


def test_the_newest_attempt_outranks_a_later_step_of_a_zombie(begin) -> None:
    store = MemoryStore()
    old = CheckpointStore(store, RUN, 0, "01hzzzzzzzzzzzzzzzzzzzzzz2")
    old.commit([old.upload(9, {"student.safetensors": b"old"})])
    new = CheckpointStore(store, RUN, 1, "01hzzzzzzzzzzzzzzzzzzzzzz3")
    new.commit([new.upload(6, {"student.safetensors": b"new"})])
    assert new.newest() == (1, 6, {"student.safetensors": b"new"})


@pytest.mark.parametrize("damage", ["changed", "missing", "commit"])
def test_a_broken_checkpoint_is_passed_over(begin, damage: str) -> None:
    store = MemoryStore()
    finish(begin(store))
    key = layout.checkpoint_file(RUN, 12, 0, "teacher.safetensors")
    if damage == "changed":
        data = bytearray(store.get(key))
        data[-1] ^= 1
        store.put(key, bytes(data))
    elif damage == "missing":
        store.delete(key)
    else:
        store.put(layout.checkpoint_commit(RUN, 12, 0), b'{"half":')
    checkpoints = CheckpointStore(store, RUN, 1, "")
    with pytest.raises(CheckpointInvalid):
        checkpoints.load(0, 12)
    assert begin(store, attempt=1).step == 9


def test_files_without_a_commit_are_no_checkpoint(begin) -> None:
    store = MemoryStore()
    finish(begin(store))
    store.delete(layout.checkpoint_commit(RUN, 12, 0))
    assert begin(store, attempt=1).step == 9


def test_a_loss_that_is_not_finite_ends_the_run_without_a_checkpoint(begin) -> None:
    store = MemoryStore()
    session = begin(store)

    def poison(step: int) -> None:
        if step == 5:
            with torch.no_grad():
                session._objective.student.projector[0].weight.fill_(float("nan"))

    session._trainer._reach = poison
    with pytest.raises(NonFinite, match="contrastive is nan at step 5") as caught:
        finish(session)
    assert exit_reason(caught.value) == "nan"
    assert [step for _, step in CheckpointStore(store, RUN, 0, "").committed()] == [3]


def test_another_manifest_than_the_frozen_one_is_refused(begin, write_dataset, write_run, open_attempt) -> None:
    store = MemoryStore()
    ref = write_dataset(store)
    write_run(store, ref.model_copy(update={"manifest_sha256": "0" * 64}))
    with pytest.raises(Exception, match="names another manifest than the run froze") as caught:
        begin(store)
    assert exit_reason(caught.value) == "data"
