"""Bad configurations fail before the first step, each with its field and what to do: in `resolve`, the API, the launch.

A table: one line a fault. Where the number of ranks or the data decides, the request or the start of a rank finds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from synfarm.auth import Authenticator
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import Concept, JobSpec
from synfarm.faults import Faults
from synfarm.settings import AuthSettings
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.app import build_app
from synfarm_trainer.data.manifest import DatasetInvalid
from synfarm_trainer.endings import exit_reason
from synfarm_trainer.presets import resolve
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start
from synfarm_trainer.settings import TrainerSettings

JOB, RUN = "01hzzzzzzzzzzzzzzzzzzzzzz0", "01hzzzzzzzzzzzzzzzzzzzzzz1"
Fields = dict[str, Any]

RESOLVE: list[tuple[str, Fields, str, str]] = [
    # preset, overrides, field, what the message says of the cure
    ("tinny", {}, "preset", "did you mean tiny"),
    ("synclr-b16-papr", {}, "preset", "did you mean synclr-b16-paper"),
    ("tiny", {"optim.lrr": 1}, "optim.lrr", "did you mean optim.lr"),
    ("tiny", {"optm.lr": 1}, "optm.lr", "did you mean optim.lr"),
    ("tiny", {"schedul.whatever": 1}, "schedul.whatever", "no such section; did you mean schedule"),
    ("tiny", {"optim": {"lr": 1}}, "optim", "is a section; name one of its fields: optim.lr,"),
    ("tiny", {"optim.zzz": 1}, "optim.zzz", "fields of optim: lr, min_lr"),
    ("tiny", {"teapot.zzz": 1}, "teapot.zzz", "sections: data, augment"),
    ("tiny", {"objective.name": "simclrr"}, "objective.name", "did you mean simclr"),
    ("tiny", {"objective.name": ["synclr"]}, "objective.name", "did you mean synclr"),
    ("tiny", {"augment.name": "papr"}, "augment.name", "did you mean paper"),
    ("tiny", {"augment.interpolation": "bicubc"}, "augment.interpolation", "did you mean bicubic"),
    ("tiny", {"mask.shape": "blok"}, "mask.shape", "did you mean block"),
    ("tiny", {"optim.lr": "0.1"}, "optim.lr", "must be of type float"),
    ("tiny", {"optim.lr": 10**400}, "optim.lr", "finite"),
    ("tiny", {"optim.lr": float("nan")}, "optim.lr", "finite"),
    ("tiny", {"optim.lr": 0}, "optim.lr", "positive"),
    ("tiny", {"optim.min_lr": 1.0}, "optim.min_lr", "in 0 to optim.lr"),
    ("tiny", {"optim.beta2": 1.0}, "optim.beta2", r"in \[0, 1\)"),
    ("tiny", {"data.views": True}, "data.views", "must be of type int"),
    ("tiny", {"data.min_scores": {"clip": "high"}}, "data.min_scores.clip", "must be of type float"),
    ("tiny", {"augment.scale": [0.5]}, "augment.scale", "a list of 2 numbers"),
    ("tiny", {"augment.size": 50}, "augment.size", r"no multiple of model.patch \(8\); use 48 or 56"),
    ("synclr-l14-paper", {"local_crops.size": 96}, "local_crops.size", r"model.patch \(14\); use 98 or 84"),
    ("tiny", {"model.heads": 5}, "model.heads", "must divide model.width"),
    ("tiny", {"model.init_from": "weights.bin"}, "model.init_from", "write run:<run>"),
    ("tiny", {"data.views": 1}, "data.views", "use at least 2"),
    ("tiny", {"objective.name": "stablerep", "data.views": 1}, "data.views", "use at least 2"),
    ("tiny", {"objective.name": "simclr"}, "data.crops", "use at least 2"),
    ("tiny", {"objective.name": "dino"}, "data.crops", "use at least 2"),
    ("tiny", {"objective.name": "moco_v3", "data.crops": 3}, "data.crops", "set it to 2"),
    ("tiny", {"objective.name": "mae"}, "mask.images", "set it to 1"),
    ("tiny", {"objective.name": "clip", "objective.text_heads": 7}, "objective.text_heads", "must divide"),
    (
        "tiny",
        {"objective.name": "dinov2", "data.crops": 2, "data.views": 1, "mask.images": 1.0},
        "data.cell_captions",
        "raise it to 2 or more, or set objective.koleo_weight to 0",
    ),
    ("tiny", {"objective.prototypes": 1}, "objective.prototypes", "at least 2"),
    ("tiny", {"objective.name": "ibot", "data.crops": 2, "objective.prototypes": 1}, "objective.prototypes", "least 2"),
    ("tiny", {"objective.temperature": 0}, "objective.temperature", "positive"),
    ("tiny", {"schedule.warmup_steps": 200}, "schedule.warmup_steps", "in 0 to 199"),
    ("tiny", {"schedule.steps": 20}, "schedule.warmup_steps", "in 0 to 19"),
    ("tiny", {"ema.start": 0.99}, "ema.start", "in 0 to ema.end"),
    ("tiny", {"model.drop_path": 0.1}, "model.drop_path", "raise it or data.cell_captions"),
    ("tiny", {"objective.ibot_weight": 1, "mask.images": 0.1}, "mask.images", "raise it or data.cell_captions"),
    ("tiny", {"objective.ibot_weight": 1, "mask.ratio": [0.01, 0.01]}, "mask.ratio", "raise it or augment.size"),
    ("small", {"data.captions_per_batch": 30}, "data.captions_per_batch", r"multiple of data.cell_captions \(4\)"),
    ("small", {"execution.micro_captions": 6}, "execution.micro_captions", r"multiple of data.cell_captions \(4\)"),
    ("tiny", {"data.held_out": 1.0}, "data.held_out", "between 0 and 1"),
    ("tiny", {"checkpoint.every_steps": 0}, "checkpoint.every_steps", "at least 1"),
]
REQUEST: list[tuple[Fields, str, str, str]] = [
    # body, code, field, what detail and hint say
    ({"ranks": 3}, "ranks_do_not_divide_batch", "ranks", "a divisor of 32"),
    ({"ranks": 4, "preset": "small", "overrides": {"data.captions_per_batch": 24}}, "ranks_", "ranks", "cells of 4"),
    ({"ranks": 9}, "too_many_ranks", "ranks", "8 or fewer"),
    ({"ranks": 0}, "invalid_request", "ranks", "1"),
    ({"overrides": {"data.views": 8}}, "too_few_images", "overrides.data.views", "4 or less"),
    ({"overrides": {"optim.lrr": 1}}, "config_invalid", "overrides.optim.lrr", "did you mean optim.lr"),
    ({"preset": "tinny"}, "config_invalid", "preset", "did you mean tiny"),
    ({"presett": "tiny"}, "invalid_request", "presett", "preset"),
]
LAUNCH: list[tuple[Fields, Fields, Ranks, str, str]] = [
    # overrides, dataset, ranks, field, what the exit record says
    ({}, {}, Ranks(0, 5), "data.captions_per_batch", "use a multiple of 5, or another number of ranks"),
    ({"data.views": 5}, {}, Ranks(), "data.views", "has 4 images, the run asks for 5; lower it"),
    ({"data.captions_per_batch": 60}, {}, Ranks(), "data.captions_per_batch", "lower it or use a larger dataset"),
    ({"objective.name": "supce"}, {"captions": 1}, Ranks(), "data.captions_per_batch", "lower it"),
    ({"data.min_scores": {"clip": 9}}, {}, Ranks(), "data.min_scores.clip", "they have no scores"),
    ({"model.init_from": "store:weights/x.safetensors"}, {}, Ranks(), "model.init_from", "put the file there"),
]


@pytest.mark.parametrize(("preset", "overrides", "field", "cure"), RESOLVE)
def test_resolving_refuses(preset: str, overrides: Fields, field: str, cure: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(field)}: .*{cure}"):
        resolve(preset, overrides)


@pytest.mark.parametrize(("body", "code", "field", "cure"), REQUEST)
def test_a_request_is_refused(tmp_path: Path, body: Fields, code: str, field: str, cure: str) -> None:
    store = MemoryStore()
    spec = JobSpec(
        job=JOB,
        owner="local",
        created_at=utc_now(),
        captions_per_unit=8,
        captions=500,
        concepts=(Concept(name="owl"),),
    )
    store.create(layout.job(JOB), spec.to_bytes())
    application = build_app(TrainerSettings(state_dir=tmp_path), store, Authenticator(AuthSettings(), []))
    # Outside its context nothing of the application runs: no run is started.
    answer = TestClient(application).post("/v1/runs", json={"jobs": [JOB], **body})
    problem = answer.json()
    assert answer.status_code == 422, problem
    assert problem["code"].startswith(code)
    assert problem["field"] == field
    assert re.search(cure, f"{problem['detail']} {problem['hint']}"), problem
    assert not list(store.list(layout.runs_prefix()))


@pytest.fixture
def _torch_state() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_torch_state")
@pytest.mark.parametrize(("overrides", "dataset", "ranks", "field", "cure"), LAUNCH)
def test_a_start_ends_before_the_first_step(
    tmp_path: Path,
    write_dataset: Any,
    write_run: Any,
    open_attempt: Any,
    overrides: Fields,
    dataset: Fields,
    ranks: Ranks,
    field: str,
    cure: str,
) -> None:
    """And is not tried again: the reason is the configuration or the data, not a crash."""
    store = MemoryStore()
    write_run(store, write_dataset(store, **dataset), overrides=overrides)
    open_attempt(store, 0)
    with pytest.raises((ValueError, DatasetInvalid), match=f"^{re.escape(field)}: .*{cure}") as caught:
        Session(store, Start(RUN, 0, tmp_path), ranks, Faults(), lambda: False)
    assert exit_reason(caught.value, building=True) in {"config", "data"}
