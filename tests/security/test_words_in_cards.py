"""Words of users in what the farm writes as Markdown, tables, metrics: they end no cell, link nowhere, add no line."""

from __future__ import annotations

import html
import re
from types import SimpleNamespace
from typing import Any

import pytest
from markdown_it import MarkdownIt
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from synfarm.cli.samples import _cell
from synfarm.contracts.base import utc_now
from synfarm.contracts.caption_reports import ConceptCount
from synfarm.contracts.housekeeping import ExportIndex
from synfarm.contracts.imports import ImportRef
from synfarm.contracts.jobs import JobRequest, JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, manifest_hash
from synfarm.housekeeping.exporting.card import card_text as export_card
from synfarm.importing.card import card_text as import_card
from synfarm.markdown import as_text
from synfarm_caption_api.api.farm_metrics import FarmCollector
from synfarm_caption_api.caption_report.card import _told
from synfarm_caption_api.feeder.farm_record import FarmPicture, FarmRecord
from synfarm_caption_api.feeder.manifest import card_text as job_card

JOB = "01k" + "0" * 23
HOSTILE = [
    "dog | <script>alert(1)</script>",
    "[free GPUs](http://evil.example)",
    "![pixel](http://evil.example/p.png)",
    "`code` **bold** <img src=x>",
    "http://evil.example www.evil.example",
    "--- &lt; \\| ~~gone~~ $x$",
]
WORDS = ", ".join(HOSTILE)


def rendered(markdown: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)


def ended() -> Ended:
    return Ended(
        job=JOB,
        generation=1,
        state=JobState.COMPLETED,
        reason=None,
        planned=6,
        counts=Counts(units_committed=1, captions=6, images=24, bytes=9),
        rejections={},
        draws=6,
        parts=(),
        manifest_sha256=manifest_hash(()),
        ended_at=utc_now(),
    )


def cards() -> dict[str, str]:
    asked = JobRequest.model_validate({"concepts": HOSTILE, "captions": 6}).model_dump(exclude={"captions_per_unit"})
    spec = JobSpec(**asked, job=JOB, owner="ada", created_at=utc_now(), captions_per_unit=8)
    where = ImportRef(kind="folder", where=WORDS[:200], sha256="0" * 64, files=6)
    imported = spec.model_copy(update={"source": where})
    index = ExportIndex(
        job=JOB,
        name="job",
        generation=1,
        manifest_sha256="0" * 64,
        partial=False,
        urls="",
        shard_bytes=None,
        captions=6,
        images=6,
        images_per_caption=1,
        image_size=64,
        image_format="jpg",
        bytes=9,
        tars=(),
    )
    return {
        "job": job_card(spec, ended()),
        "import": import_card(imported, ended()),
        "export": export_card(spec, index),
        "export of an import": export_card(imported, index),
    }


@pytest.mark.parametrize("kind", ["job", "import", "export", "export of an import"])
def test_a_card_shows_words_as_they_are(kind: str) -> None:
    card = cards()[kind]
    assert card.startswith("# "), "no front matter, which words could add a line to"
    page = rendered(card)
    assert [tag for tag in ("<a", "<img", "<script", "<strong", "<s>") if tag in page] == []
    cells = [html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", page)]
    assert [cell for cell in cells if HOSTILE[0] in cell and HOSTILE[1] in cell], cells
    # What makes links of bare addresses looks for these in the source.
    assert "http://evil" not in card
    assert "www.evil" not in card


def test_a_hard_concept_in_the_section_on_captions() -> None:
    told = _told(ConceptCount(concept=HOSTILE[1], planned=1, kept=0, draws=9))
    assert rendered(told) == f"<p>{HOSTILE[1]} (0 of 9)</p>\n"


def test_text_is_one_line() -> None:
    assert as_text("a\n---\nlicense: mit\x1b") == "a --- license: mit\ufffd"
    assert as_text("polar bear, fire truck (red)") == "polar bear, fire truck (red)"


@pytest.mark.parametrize("words", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)"])
def test_a_table_for_people_has_no_formulas(words: str) -> None:
    assert _cell(words) == f"'{words}"
    assert _cell(f"a\t{words}\nb") == f"a {words} b"


def test_metrics_of_jobs_are_bounded_and_lose_nothing() -> None:
    names = [f"f{n:03d}-s" for n in range(300)]
    units = {(name, "unsent"): n for n, name in enumerate(names)}
    queues = {f"render.{name}.normal": n for n, name in enumerate(names)}
    record: Any = SimpleNamespace(totals=FarmRecord().totals, picture=FarmPicture(units=units, queues=queues))
    found = {family.name: family.samples for family in FarmCollector(record).collect()}
    for family in ("synfarm_farm_units", "synfarm_farm_queue_messages"):
        samples = found[family]
        label = "capability" if family.endswith("units") else "queue"
        told = {sample.labels[label] for sample in samples}
        assert len(told) == 101
        assert "other" in told
        assert {name for name in told if "f299-s" in name}, "the largest is told by its name"
        assert sum(sample.value for sample in samples) == sum(range(300))


def test_a_label_s_value_adds_no_line() -> None:
    value = 'x"} 1\nforged_total{a="\\b'
    gauge = GaugeMetricFamily("ours", "Ours.", labels=["a"])
    gauge.add_metric([value], 2)
    registry = CollectorRegistry()
    registry.register(type("Once", (), {"collect": lambda self: [gauge]})())
    (family,) = text_string_to_metric_families(generate_latest(registry).decode())
    assert [(sample.name, sample.labels, sample.value) for sample in family.samples] == [("ours", {"a": value}, 2)]
