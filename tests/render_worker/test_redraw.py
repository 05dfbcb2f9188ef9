"""An image is drawn again from its sample alone, to the byte, and the command says when it cannot promise that."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.commits import SampleMeta
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import Concept, JobSpec, RenderSettings
from synfarm_render_worker.collage.renderer import CollageRenderer
from synfarm_render_worker.drawing import EncodedImage
from synfarm_render_worker.encoding import encode
from synfarm_render_worker.packing import DrawnBy, pack
from synfarm_render_worker.redraw import BadSample, main, read_sample, redraw
from synfarm_render_worker.renderer import FakeRenderer, ImageRequest, Renderer, image_seed

JOB = "01jd00000000000000000000aa"
CAPTION = "two red foxes next to a castle in the snow"
Sample = tuple[dict[str, Any], list[bytes]]


@pytest.fixture(scope="module", params=["jpg", "webp"])
def sample(request: pytest.FixtureRequest) -> Sample:
    """The JSON and the images of a caption group, read back from the shard that a worker would write."""
    spec = JobSpec(
        job=JOB,
        owner="me",
        created_at="2026-01-01T00:00:00Z",
        concepts=(Concept(name="fox"),),
        captions=9,
        captions_per_unit=9,
        images_per_caption=3,
        seed=4,
        render=RenderSettings(size=48, image_format=request.param, quality=90),
    )
    record = CaptionRecord(
        caption_id=caption_id(JOB, 7), index=7, concept="fox", text=CAPTION, draws=1, llm_seed=0, llm_model="m"
    )
    renderer = CollageRenderer(spec.render)
    requests = [ImageRequest(CAPTION, image_seed(spec.seed, JOB, 7, k)) for k in range(3)]
    drawn = [
        EncodedImage(asked.seed, encode(image.pixels, request.param, 90), dict(image.scene or {}))
        for asked, image in zip(requests, renderer.render(requests), strict=True)
    ]
    shard = pack(spec, [record], [drawn], DrawnBy.of(renderer))
    *images, meta = (shard.data[m.offset : m.offset + m.length] for m in shard.groups[0].members)
    return json.loads(meta), images


@pytest.fixture
def write(tmp_path: Path, sample: Sample) -> Callable[..., Path]:
    def written(**changed: Any) -> Path:
        path = tmp_path / "sample.json"
        path.write_text(json.dumps({**sample[0], **changed}))
        return path

    return written


@pytest.mark.parametrize("k", [0, 1, 2])
def test_the_bytes_are_those_of_the_shard(sample: Sample, write: Callable[..., Path], tmp_path: Path, k: int) -> None:
    """Pitfall 40: an image drawn alone has the noise that it had in its unit."""
    out = tmp_path / "again"
    assert main([str(write()), "--image", str(k), "--out", str(out), "--strict"]) == 0
    assert out.read_bytes() == sample[1][k]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_wrong_concept_field_changes_nothing(sample: Sample) -> None:
    meta = read_sample(json.dumps({**sample[0], "concept": "submarine", "kind": "texture", "second": "moon"}))
    assert redraw(meta, 0, CollageRenderer).data == sample[1][0]
    other = read_sample(json.dumps({**sample[0], "caption": CAPTION.replace("red", "blue")}))
    assert redraw(other, 0, CollageRenderer).data != sample[1][0]


def test_the_api_s_answer_is_read_as_well(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    group = {"caption_id": sample[0]["caption_id"], "images": [], "meta": sample[0]}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(group)))
    assert main(["-", "--image", "1", "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again").read_bytes() == sample[1][1]
    assert capsys.readouterr().err == ""


def test_other_versions_are_told_and_refused_when_strict(
    sample: Sample, write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(versions={**sample[0]["versions"], "collage": "1", "old-package": "3"}), tmp_path / "again"
    assert main([str(path), "--out", str(out), "--strict"]) == 3
    assert not out.exists()
    assert "nothing written" in capsys.readouterr().err
    assert main([str(path), "--out", str(out)]) == 0
    assert out.exists()
    told = capsys.readouterr().err
    assert "collage 1 then, 2 now, old-package 3 then, none now; the bytes may differ" in told


@pytest.mark.parametrize(
    ("changed", "arguments", "code", "words"),
    [
        ({}, ["--image", "3"], 2, "has images 0 to 2, not 3"),
        ({}, ["--image", "-1"], 2, "has images 0 to 2, not -1"),
        ({"seeds": "x"}, [], 2, "seeds: Input should be a valid"),
        ({"renderer": "raytracer"}, [], 2, "renderer: Input should be 'collage' or 'diffusers'"),
        ({"caption": "nothing of the kind"}, [], 4, "names no concept"),
        ({"size": 1024, "render_size": 1024}, [], 4, "collage draws up to 512 px"),
    ],
)
def test_a_bad_sample_is_told(
    write: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, Any],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    out = tmp_path / "again"
    assert main([str(write(**changed)), "--out", str(out), *arguments]) == code
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_bad_files_are_told(write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.json"), "--out", str(tmp_path / "again")]) == 2
    assert "No such file" in capsys.readouterr().err
    (tmp_path / "text").write_text("dog")
    assert main([str(tmp_path / "text"), "--out", str(tmp_path / "again")]) == 2
    assert "give the <caption_id>.json of a shard" in capsys.readouterr().err
    assert main([str(write()), "--out", str(tmp_path / "none" / "again")]) == 2
    assert "--out:" in capsys.readouterr().err
    with pytest.raises(BadSample, match="not one of synfarm's: the whole"):
        read_sample("[]")


def test_a_diffusion_sample_asks_for_its_model_again() -> None:
    meta = SampleMeta(
        caption_id=caption_id(JOB, 0),
        caption="a heron",
        concept="heron",
        kind="object",
        template="c",
        second=None,
        seeds=(5, 6),
        renderer="diffusers",
        model="some/model",
        revision="abc",
        sampler="dpmpp2m",
        steps=12,
        guidance=3.5,
        render_size=64,
        size=32,
        image_format="webp",
        quality=80,
    )
    asked: list[RenderSettings] = []

    def make(settings: RenderSettings) -> Renderer:
        asked.append(settings)
        return FakeRenderer(name="diffusers", model=settings.model)

    drawn = redraw(meta, 1, make)
    assert drawn.data == encode(FakeRenderer().render([ImageRequest("a heron", 6)])[0].pixels, "webp", 80)
    assert drawn.exact is False
    (settings,) = asked
    assert (settings.model, settings.revision, settings.sampler) == ("some/model", "abc", "dpmpp2m")
    assert (settings.steps, settings.guidance, settings.render_size, settings.size) == (12, 3.5, 64, 32)
