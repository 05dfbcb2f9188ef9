"""`model.init_from`: weights of runs, files and timm, what fits of them, and that every rank begins with the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save, save_file
from torch import Tensor

from synfarm.contracts import layout
from synfarm.faults import Faults
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.config import ModelConfig, OfRun, OfStore, OfTimm, TrainConfig, parse_initial
from synfarm_trainer.initial import begin_from, reading
from synfarm_trainer.initial.fitting import fit
from synfarm_trainer.models.vit import Backbone, build_vit, init_parameters
from synfarm_trainer.objectives.protocol import Objective
from synfarm_trainer.objectives.registry import build_objective
from synfarm_trainer.ranks import Ranks
from synfarm_trainer.session import Session, Start

RUN, FIRST = "01hzzzzzzzzzzzzzzzzzzzzzz1", "01hzzzzzzzzzzzzzzzzzzzzzz9"
KEY = "weights/own.safetensors"
BARE = {"eval.knn": False, "eval.patch_pca": False, "schedule.steps": 3, "schedule.warmup_steps": 1}


@pytest.fixture(autouse=True)
def _torch_state():
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def objective(small_config: Callable[..., TrainConfig]) -> Objective:
    return build_objective(small_config(), 7, concepts=8)


def network(seed: int, size: int = 16, **changes: int) -> Backbone:
    config = ModelConfig(**{"patch": 8, "width": 32, "depth": 2, "heads": 2, "drop_path": 0.0, **changes})
    made = build_vit(config, size)
    init_parameters(made, seed)
    return made.eval()


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def put(store: MemoryStore, tensors: dict[str, Tensor], key: str = KEY) -> str:
    store.put(key, save(tensors))
    return f"store:{key}"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", None),
        (f"run:{RUN}", OfRun(RUN)),
        (f"run:{RUN}@300", OfRun(RUN, 300)),
        (f"store:{KEY}", OfStore(KEY)),
        (f"store:runs/{RUN}/export/backbone.safetensors", OfStore(f"runs/{RUN}/export/backbone.safetensors")),
        ("timm:vit_base_patch16_224.mae", OfTimm("vit_base_patch16_224.mae")),
    ],
)
def test_forms(text: str, meant: object) -> None:
    assert parse_initial(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "run:1",
        f"run:{RUN}@",
        f"run:{RUN}@-1",
        "store:weights/own.bin",
        "store:jobs/x.safetensors",
        "store:weights/../runs/x.safetensors",
        "store:weights/a/b.safetensors",
        f"store:runs/{RUN}/../{FIRST}/export/backbone.safetensors",
        f"store:runs/{RUN}/./export/backbone.safetensors",
        "timm:",
        "timm:hf-hub:someone/model",
        "/tmp/x.safetensors",
    ],
)
def test_other_forms_are_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"model\.init_from: .* names no weights; write run:<run> .* timm:<"):
        ModelConfig(init_from=text)


def test_weights_reach_student_and_teacher_and_what_does_not_fit_is_told(objective: Objective) -> None:
    store, given = MemoryStore(), network(3)
    tensors = {**given.state_dict(), "head.weight": torch.ones(4, 32)}
    del tensors["norm.bias"]
    tensors["blocks.0.mlp.fc1.bias"] = torch.ones(7)
    told = begin_from(put(store, tensors), objective, store, Ranks())
    assert told is not None
    assert (told["from"], told["missing"], told["unexpected"]) == (f"store:{KEY}", ["norm.bias"], ["head.weight"])
    assert told["mismatched"] == {"blocks.0.mlp.fc1.bias": [[7], [128]]}
    assert (told["loaded"], told["resampled"], len(told["sha256"])) == (len(given.state_dict()) - 2, False, 64)
    json.dumps(told)
    student = objective.student.get_submodule("backbone")
    assert torch.equal(student.get_parameter("blocks.1.attn.qkv.weight"), given.blocks[1].attn.qkv.weight)
    assert objective.teacher is not None
    assert same(objective.teacher.get_submodule("backbone"), student)
    assert not any(parameter.requires_grad for parameter in objective.teacher.parameters())


@torch.no_grad()
def test_positions_are_resampled_as_the_backbone_does_for_another_size() -> None:
    large, small = network(3, size=32), network(4, size=16)
    told = fit(small, large.state_dict(), "x")
    assert told["resampled"]
    assert told["mismatched"] == {}
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(small(images), large(images), atol=1e-6)


@pytest.mark.parametrize(
    ("tensors", "cure"),
    [
        (
            lambda: network(3, width=64, depth=3).state_dict(),
            "model.width to 64, model.depth to 3, model.patch to 8",
        ),
        (lambda: {"layer1.0.conv1.weight": torch.ones(2, 2, 1, 1)}, "no ViT with timm's names"),
        (lambda: {**network(3).state_dict(), "norm.bias": torch.full((32,), float("nan"))}, "not finite"),
    ],
)
def test_weights_that_cannot_be_are_refused(
    objective: Objective, tensors: Callable[[], dict[str, Tensor]], cure: str
) -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match=f"model.init_from: .*{cure}"):
        begin_from(put(store, tensors()), objective, store, Ranks())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"store:{KEY}", "the store has no weights/own.safetensors; put the file there"),
        (f"run:{FIRST}", "backbone.safetensors; wait until it is complete"),
        (f"run:{FIRST}@3", "no checkpoint of step 3; it has: none"),
        ("store:weights/bad.safetensors", "no safetensors file"),
        ("timm:vit_tinny_patch16_224", "timm has no pretrained model .*; did you mean vit_tiny_patch16_224"),
    ],
)
def test_weights_that_are_not_there_are_named(objective: Objective, text: str, message: str) -> None:
    store = MemoryStore()
    store.put("weights/bad.safetensors", b"\x80\x04K\x01.")
    with pytest.raises(ValueError, match=f"model.init_from: .*{message}"):
        begin_from(text, objective, store, Ranks())


class FirstsPeers(Ranks):
    """The first of two ranks: what it sends is kept for the second, which is played by ``Second``."""

    sent: ClassVar[list[Tensor]] = []

    def broadcast(self, values: Tensor) -> Tensor:
        self.sent.append(values.clone())
        return values


class Second(Ranks):
    def broadcast(self, values: Tensor) -> Tensor:
        return values.copy_(FirstsPeers.sent.pop(0))


def test_other_ranks_take_the_firsts_weights_and_read_nothing(small_config: Callable[..., TrainConfig]) -> None:
    one, two = (build_objective(small_config(), seed, concepts=8) for seed in (7, 8))
    store = MemoryStore()
    text = put(store, network(3).state_dict())
    assert begin_from(text, one, store, FirstsPeers(0, 2)) is not None
    assert begin_from(text, two, MemoryStore(), Second(1, 2)) is None
    assert not FirstsPeers.sent
    for mine, theirs in ((one.student, two.student), (one.teacher, two.teacher)):
        assert mine is not None
        assert theirs is not None
        assert same(mine.get_submodule("backbone"), theirs.get_submodule("backbone"))


def test_timms_weights_come_as_safetensors_through_timm_itself(
    small_config: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the hub is played: its file has a classifier, other positions and no patch projection of our size."""
    name = "vit_tiny_patch16_224"
    published = timm.create_model(name, pretrained=False)
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    asked: list[tuple[str, str]] = []

    def hub(repository: str, file: str) -> str:
        asked.append((repository, file))
        return str(tmp_path / file)

    monkeypatch.setattr(reading, "hf_hub_download", hub)
    overrides = {"model.width": 192, "model.heads": 3, "objective.name": "stablerep"}
    one = build_objective(small_config(overrides), 7, concepts=8)
    told = begin_from(f"timm:{name}", one, MemoryStore(), Ranks())
    assert told is not None
    assert asked == [(timm.get_pretrained_cfg(name).hf_hub_id, "model.safetensors")]
    assert told["resampled"]
    assert list(told["mismatched"]) == ["patch_embed.proj.weight"]
    assert len([key for key in told["unexpected"] if key.startswith("blocks.")]) == 10 * 12
    own = one.student.get_submodule("backbone")
    assert torch.equal(own.get_parameter("blocks.1.mlp.fc2.weight"), published.blocks[1].mlp.fc2.weight)

    def away(repository: str, file: str) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(reading, "hf_hub_download", away)
    with pytest.raises(ConnectionError, match=r"model\.init_from: the hub does not give timm/.*HF_HOME"):
        begin_from(f"timm:{name}", one, MemoryStore(), Ranks())


def test_a_run_begins_from_an_own_run_and_only_when_it_begins(
    tmp_path: Path, write_dataset: Any, write_run: Any, open_attempt: Any
) -> None:
    store = MemoryStore()
    dataset = write_dataset(store)

    def begin(run: str, attempt: int, **overrides: object) -> Session:
        if store.head(layout.run(run)) is None:
            write_run(store, dataset, run=run, overrides={**BARE, **overrides})
        open_attempt(store, attempt, run)
        return Session(store, Start(run, attempt, tmp_path), Ranks(), Faults(), lambda: False)

    def finish(session: Session) -> None:
        try:
            session.train()
        finally:
            session.close()

    first = begin(FIRST, 0)
    finish(first)
    trained = first._objective.backbone
    second = begin(RUN, 0, **{"model.init_from": f"run:{FIRST}"})
    assert same(second._objective.backbone, trained)
    assert same(second._objective.student.get_submodule("backbone"), trained)
    again = begin_from(f"run:{FIRST}@3", second._objective, store, Ranks())
    assert again is not None
    assert same(second._objective.backbone, trained), "a checkpoint gives the network that would be exported"
    finish(second)
    lines = [json.loads(line) for line in (tmp_path / "runs" / RUN / "journal-000000.jsonl").read_text().splitlines()]
    told = [line["data"]["begun_from"] for line in lines if "begun_from" in line["data"]]
    assert [(one["from"], one["missing"], one["mismatched"]) for one in told] == [(f"run:{FIRST}", [], {})]
    store.delete(layout.export_file(FIRST, "backbone.safetensors"))
    resumed = begin(RUN, 1)
    assert resumed.step == 3, "a start that goes on from a checkpoint does not look for them"
    assert same(resumed._objective.backbone, second._objective.backbone)
    resumed.close()
