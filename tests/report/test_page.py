"""The page: valid, self-contained, complete, and safe whatever a language model or a user has written."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import unicodedata
import warnings
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from synfarm.contracts.imports import ImportRef
from synfarm.contracts.jobs import JobState, RenderSettings
from synfarm.contracts.runs import RunState
from synfarm.report import Place, ReportOptions, build_report

HOSTILE = [
    "<script>alert(1)</script>",
    "</style></title></svg><img src=x onerror=alert(1)>",
    "\"><a href=javascript:alert(1)>x</a>' onmouseover='alert(1)",
    "]]><!--</details></main>-->&lt;b&gt; {{ 7919 * 7907 }} {% raw %}",
    "\u202eright to left\u202c שלום عليكم",
    "🐕\u200d🦺 a dog 🍎",
    "x" * 20_000,
    "nul \x00 bell \x07 next line \x85 nonchar \ufffe",
]
STAGES = {"start of the farm": 29.2, "captions and images": 248.0, "training and evaluation": 138.0}
HTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"


def parsed(page: str) -> ElementTree.Element:
    """The tree; any parse error of the HTML standard fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import html5lib
    root: ElementTree.Element = html5lib.HTMLParser(strict=True).parse(page)
    return root


def text_of(element: ElementTree.Element) -> str:
    return " ".join(" ".join(element.itertext()).replace("\u202f", " ").split())


async def page_of(farm: Any, run: bool = True, **arguments: Any) -> str:
    async with farm.client() as client:
        return await build_report(client, job=farm.job, run=farm.run if run else None, **arguments)


async def read(farm: Any, **arguments: Any) -> str:
    """The page's words."""
    (body,) = parsed(await page_of(farm, **arguments)).iter(f"{HTML}body")
    return text_of(body)


def check_accessible(root: ElementTree.Element) -> None:
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    for link in root.iter(f"{HTML}a"):
        target = link.attrib["href"]
        assert target[1:] in ids if target.startswith("#") else target.startswith("https://")
    assert all(image.attrib["alt"] for image in root.iter(f"{HTML}img"))
    for table in root.iter(f"{HTML}table"):
        assert table.find(f"{HTML}caption") is not None
        assert all("scope" in head.attrib for head in table.iter(f"{HTML}th"))
    for drawing in root.iter(f"{SVG}svg"):
        if drawing.attrib.get("aria-hidden") != "true":
            assert text_of(drawing[0])
            assert drawing.attrib["aria-labelledby"].split() == [part.attrib["id"] for part in drawing[:2]]


def check_self_contained(root: ElementTree.Element) -> None:
    tags = {element.tag.rpartition("}")[2] for element in root.iter() if isinstance(element.tag, str)}
    assert not tags & {"script", "link", "iframe", "object", "embed", "form", "input", "base", "foreignObject", "use"}
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not str(name).lower().startswith("on"), f"{element.tag} {name}"
            if name in {"src", "srcset", "poster", "background", "data"}:
                assert value.startswith("data:image/"), value[:80]
    (style,) = root.iter(f"{HTML}style")
    assert not re.search(r"url\(|@import", style.text or "")
    metas = {meta.attrib.get("http-equiv"): meta.attrib.get("content", "") for meta in root.iter(f"{HTML}meta")}
    assert metas["Content-Security-Policy"].startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


async def test_the_page_is_valid_accessible_and_needs_nothing_else(farm: Any) -> None:
    root = parsed(await page_of(farm, stages=STAGES, place=Place(folder="demo", start="synfarm up --data-dir demo")))
    check_accessible(root)
    check_self_contained(root)


async def test_it_tells_what_was_made(farm: Any) -> None:
    words = await read(farm, stages=STAGES, place=Place(folder="demo", start="synfarm up --data-dir demo"))
    for said in (
        "528 captions, written by HuggingFaceTB/SmolLM2-135M, and from these 2 112 images of 64 px",
        "drawn by collage, which composes emoji artwork and is no diffusion model",
        "15.4 % ± 2.4",
        "cannot be told apart from raw pixels (19.8 %) or colour histogram (15.9 %) without learning",
        "The trained network is below raw pixels: 15.4 % ± 2.4 against 19.8 % ± 2.5",
        "concept lost Neither the concept nor a synonym",
        "It has fewer than 4 words.",
        "81 12.6 %",
        "4 min 08 s 60 %",
        f"synfarm redraw {farm.job}-0000000001 0 -o redrawn.jpg",
        f"jobs/{farm.job}/ and runs/{farm.run}/",
        "Start the farm again on it with synfarm up --data-dir demo",
        "CC-BY-SA-4.0",
        "All emojis designed by OpenMoji",
        "model.load_state_dict",
        "from the top: dog, apple",
        "contrastive equals it at every step",
        "synfarm-render-worker 0.1.0",
        "2026-11-23 12:00 UTC",
    ):
        assert said in words, said


async def test_of_imported_images_it_says_nothing_of_drawing(farm: Any) -> None:
    farm.source = ImportRef(kind="folder", where="photos", sha256="a" * 64, files=528)
    words = await read(farm)
    assert "2 112 images with their captions: 2: dog, apple; 528 images imported from folder 'photos'." in words
    assert "who may share them, their source must tell" in words
    for absent in ("no real image", "drawn by", "synfarm redraw", "OpenMoji", "written by"):
        assert absent not in words, absent


async def curves_of(farm: Any) -> list[str]:
    (training,) = (s for s in parsed(await page_of(farm)).iter(f"{HTML}section") if s.attrib["id"] == "training")
    return [text_of(svg[0]).removesuffix(" over the steps of the run") for svg in training.iter(f"{SVG}svg")]


async def test_a_term_that_is_the_total_is_drawn_once(farm: Any) -> None:
    assert await curves_of(farm) == ["total", "learning rate", "speed", "wait for data"]


async def test_every_loss_term_has_its_curve(farm: Any) -> None:
    farm.metrics_of = lambda step: farm.step_metrics(
        step, losses={"contrastive": 5.0, "ibot": 3.0 + step, "koleo of 2027": 0.1, "total": 8.1 + step}
    )
    assert await curves_of(farm) == [
        *("contrastive", "ibot", "koleo of 2027", "total"),
        *("learning rate", "speed", "wait for data"),
    ]


async def test_a_network_above_its_floors_is_told_so(farm: Any) -> None:
    farm.evals["200"]["knn"]["top1"] = 0.6
    words = await read(farm)
    assert "That is more than any floor without learning." in words
    assert "The trained network is above raw pixels" in words


async def test_a_network_hardly_above_a_floor_is_told_so(farm: Any) -> None:
    knn = farm.evals["200"]["knn"]
    floor = max(each["top1"] for each in knn["floors"].values())
    knn["top1"] = floor + knn["standard_error"]
    words = await read(farm)
    assert "That cannot be told apart from raw pixels" in words
    assert "That is more than any floor" not in words


async def test_a_network_clearly_below_a_floor_is_told_so(farm: Any) -> None:
    farm.evals["200"]["knn"]["top1"] = 0.05
    words = await read(farm)
    assert "That is less than raw pixels (19.8 %) or colour histogram (15.9 %) reach without learning." in words
    del farm.evals["200"]["knn"]["floors"]["colour_histogram"]
    assert "That is less than raw pixels (19.8 %) reaches without learning." in await read(farm)


async def test_times_without_stages_are_those_of_the_run(farm: Any) -> None:
    assert "training steps 1 min 30 s 90 % waiting for data 10.0 s 10 %" in await read(farm)


async def test_a_job_without_a_run(farm: Any) -> None:
    page = await page_of(farm, run=False)
    root = parsed(page)
    check_accessible(root)
    assert "This report tells of no training run." in text_of(root)
    assert not farm.requests["run"]
    assert "Patch features" not in text_of(root)


async def test_a_job_that_has_just_begun(farm: Any) -> None:
    farm.groups, farm.steps, farm.evals, farm.files = (), 1, {}, {}
    farm.run_state = RunState.RUNNING
    farm.metrics_of = lambda step: farm.step_metrics(step)
    farm.job_changes = {"state": JobState.RUNNING, "draws": 0, "rejections": {}, "captions_written": 0}
    root = parsed(await page_of(farm))
    check_accessible(root)
    words = text_of(root)
    assert "The job is still running" in words
    assert "The run is running." in words
    assert "No unit of the job has been committed yet." in words
    assert "No text has been counted" in words
    assert "the run has not ended yet" in words
    assert "The trainer draws it when a run completes; this one is running." in words


@pytest.mark.parametrize(
    "kind", ["job_spec", "captions", "samples", "image", "run_spec", "metrics", "artifacts", "artifact"]
)
async def test_what_is_missing_is_said(farm: Any, kind: str) -> None:
    farm.absent = frozenset({kind})
    root = parsed(await page_of(farm))
    check_accessible(root)
    if kind != "captions":
        assert "There is no /v1/" in text_of(root)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_text_stays_text(farm: Any, text: str) -> None:
    plain = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in text).replace("=>", "")
    name = " ".join(" ".join(plain.split())[:80].split())
    farm.concepts = (name,)
    farm.groups = [farm.group(i, name, text, template=text, second=text, versions={text: text}) for i in range(20)]
    farm.metrics_of = lambda step: farm.step_metrics(
        step, losses={text: 1.0, f"{text} 2": 2.0, "total": 3.0}, monitors={text: 1.0}
    )
    farm.evals["200"]["knn"]["floors"] = {text: {"top1": 0.2, "standard_error": 0.01}}
    farm.job_changes = {"rejections": {text: 5}, "reason": text}
    farm.files["patch-pca.json"] = json.dumps({"rows": [{"concept": text}]}).encode()
    page = await page_of(farm, stages={text: 5.0}, place=Place(bucket=text, endpoint=text, folder=text, start=text))
    root = parsed(page)
    check_self_contained(root)
    check_accessible(root)
    (body,) = root.iter(f"{HTML}body")
    assert [child.tag for child in body] == [f"{HTML}header", f"{HTML}main", f"{HTML}footer"]
    assert "62615533" not in text_of(body)
    page.encode()


async def test_captions_of_any_direction_are_apart_from_the_page(farm: Any) -> None:
    farm.groups = [farm.group(0, "dog", "\u202eשלום")]
    cards = list(parsed(await page_of(farm)).iter(f"{HTML}article"))
    assert [text_of(bdi) for card in cards for bdi in card.iter(f"{HTML}bdi")] == ["dog", "\ufffdשלום"]


async def test_large_images_keep_the_page_small(farm: Any) -> None:
    out = io.BytesIO()
    Image.effect_noise((256, 256), 90).convert("RGB").save(out, "PNG")
    farm.image_bytes = lambda caption_id, k: out.getvalue()
    farm.render = RenderSettings(renderer="diffusers", model="some/model", family="sd15", size=512)
    farm.groups = [farm.group(i, f"concept {i}", "noise") for i in range(20)]
    page = await page_of(farm, options=ReportOptions(gallery_bytes=600_000))
    assert 20 * 4 * len(out.getvalue()) > 5_000_000
    assert 300_000 < len(page) < 800_000
    words = text_of(parsed(page))
    assert "drawn by some/model." in words
    assert "read its card before you share them" in words
    assert "OpenMoji" not in words


def test_the_client_does_not_load_what_draws_the_page() -> None:
    code = "import sys, synfarm.sdk, synfarm.cli; print({'jinja2', 'PIL', 'markupsafe'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
