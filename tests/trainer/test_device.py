"""Which device and precision a rank takes, and what it says where it cannot have them."""

from __future__ import annotations

import os

import pytest
import torch

from synfarm_trainer.config import ExecutionConfig, from_dict, to_dict
from synfarm_trainer.device import Place, choose_place, prepare_torch
from synfarm_trainer.endings import exit_detail, exit_reason
from synfarm_trainer.presets import resolve

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """(count, bfloat16) to a machine with so many GPUs, as torch tells it."""

    def have(count: int, *, half: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: half)

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    unset(CUBLAS, monkeypatch)
    return have


def unset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the test ends, whatever it sets itself."""
    monkeypatch.setenv(name, "")
    monkeypatch.delenv(name)


def test_auto_is_what_the_machine_has(gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    gpus(0)
    assert choose_place(ExecutionConfig()) == Place(cpu, half=False)
    assert choose_place(ExecutionConfig(precision="bfloat16")) == Place(cpu, half=True)
    gpus(2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_place(ExecutionConfig()) == Place(torch.device("cuda", 1), half=True)
    assert choose_place(ExecutionConfig(precision="float32")) == Place(torch.device("cuda", 1), half=False)
    assert choose_place(ExecutionConfig(device="cpu")) == Place(cpu, half=False)
    gpus(2, half=False)
    assert choose_place(ExecutionConfig()) == Place(torch.device("cuda", 1), half=False)


def test_what_is_missing_is_told_with_its_field(gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(0)
    with pytest.raises(ValueError, match=r"execution\.device: cuda is asked for, and torch sees no GPU"):
        choose_place(ExecutionConfig(device="cuda"))
    gpus(2, half=False)
    with pytest.raises(ValueError, match=r"execution\.precision: this GPU has no bfloat16; use float32 or auto"):
        choose_place(ExecutionConfig(precision="bfloat16"))
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match=r"execution\.device: rank 2 .* torch sees 2; start at most 2 ranks"):
        choose_place(ExecutionConfig())


@pytest.mark.parametrize(("given", "begun"), [(None, True), (":1:1", False)])
def test_determinism_that_cublas_cannot_give_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: str | None, begun: bool
) -> None:
    monkeypatch.delenv(CUBLAS, raising=False)
    if given is not None:
        monkeypatch.setenv(CUBLAS, given)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: begun)
    with pytest.raises(ValueError, match=r"execution\.deterministic: .*set CUBLAS_WORKSPACE_CONFIG=:4096:8 before"):
        prepare_torch(ExecutionConfig(threads=torch.get_num_threads()), Place(torch.device("cuda", 0), half=True))


def test_asking_for_bfloat16_begins_cuda_and_determinism_is_still_given(gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch does: it looks at the current device for that."""
    gpus(1)
    begun: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: begun.append(True) or True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: bool(begun))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    config = ExecutionConfig(threads=torch.get_num_threads())
    try:
        prepare_torch(config, choose_place(config))
        assert os.environ[CUBLAS] == ":4096:8"
        assert begun
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_full_memory_names_the_fields_that_ease_it_and_is_not_tried_again() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert exit_reason(error) == "config"
    assert exit_detail(error).startswith("execution.micro_captions: ")
    assert "execution.recompute" in exit_detail(error)
    assert "2.00 GiB" in exit_detail(error)
    assert exit_detail(ValueError("data.views: too few")) == "data.views: too few"


def test_runs_of_before_know_nothing_of_it_and_go_on() -> None:
    config = resolve("tiny", {})
    frozen = to_dict(config)
    for name in ("device", "precision", "parallel"):
        del frozen["execution"][name]
    assert from_dict(frozen) == config


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_rank_prepares_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    place = choose_place(ExecutionConfig())
    assert place.device.type == "cuda"
    try:
        prepare_torch(ExecutionConfig(deterministic=False), place)
        assert torch.get_float32_matmul_precision() == "highest"
        assert torch.cuda.current_device() == place.device.index
    finally:
        torch.use_deterministic_algorithms(False)
