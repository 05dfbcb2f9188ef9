"""The demo's parts: requests from options, what is shown while it runs and at its end."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import JsonValue
from rich.console import Console

from synfarm.cli.demo.options import BadOption, DemoOptions, check_enough, job_request, run_request
from synfarm.cli.demo.summary import print_summary, summarise
from synfarm.cli.display import PlainDisplay, job_line, open_display, run_line
from synfarm.cli.exits import CommandFailed
from synfarm.cli.learnt import knn_rows
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import Counts
from synfarm.contracts.runs import RunState
from synfarm.contracts.views import JobView, RunView
from synfarm.local.state import StackState
from synfarm_trainer.data.held_out import held_out_set
from synfarm_trainer.data.plan import GroupTable
from synfarm_trainer.presets import resolve

ID = "01hzzzzzzzzzzzzzzzzzzzzzzz"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def knn(top1: float) -> dict[str, JsonValue]:
    floors = {"raw_pixels": {"top1": 0.11, "standard_error": 0.01}}
    return {
        "top1": top1,
        "standard_error": 0.02,
        "floors": floors,
        "test_images": 192,
        "test_captions": 48,
        "classes": 48,
    }


JOB = JobView(
    job=ID,
    name="demo",
    owner="local",
    state=JobState.COMPLETED,
    created_at=NOW,
    planned_captions=528,
    planned_units=66,
    captions_written=500,
    counts=Counts(captions=500, images=2000, empty=28, bytes=5_000_000, units_committed=66),
    draws=1000,
    rejections={"too_long": 100, "concept_lost": 400},
    images_per_second=12.34,
    eta_seconds=75.0,
    as_of=NOW,
)
RUN = RunView(
    run=ID,
    name="demo",
    owner="local",
    preset="tiny",
    state=RunState.COMPLETED,
    created_at=NOW,
    datasets=(),
    step=240,
    total_steps=240,
    losses={"total": 1.5},
    evals={"0": {"knn": knn(0.14)}, "240": {"knn": knn(0.22)}},
    as_of=NOW,
)


def test_whole_rounds_of_every_concept_with_room_for_empty_slots() -> None:
    request = job_request(DemoOptions())
    assert len(request.concepts) == 48
    assert request.captions == 528
    assert request.captions % 48 == 0
    assert request.concept_draw == "balanced"
    assert job_request(DemoOptions(concepts="8", captions=16)).captions == 24


def test_a_short_run_warms_up_for_a_tenth() -> None:
    assert run_request(DemoOptions(), ID).overrides == {}
    assert run_request(DemoOptions(steps=20), ID).overrides == {"schedule.steps": 20, "schedule.warmup_steps": 2}


def test_a_run_takes_as_many_views_as_there_are_images() -> None:
    assert run_request(DemoOptions(images=2), ID).overrides == {"data.views": 2}
    assert run_request(DemoOptions(images=5), ID).overrides == {}
    assert resolve("tiny").data.views == 4


def test_concepts_from_a_file(tmp_path: Path) -> None:
    listed, text = tmp_path / "concepts.json", tmp_path / "concepts.txt"
    listed.write_text(json.dumps(["dog", {"name": "apple"}]))
    text.write_text("dog\napple # red or green\n")
    for file in (listed, text):
        request = job_request(DemoOptions(concepts=str(file), captions=2))
        assert [concept.name for concept in request.concepts] == ["dog", "apple"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "neither a number nor a file that exists"),
        ("{}", "must hold a JSON list"),
        ('["a  b"]', "concept 1: name: must not begin or end with a space"),
        ("dog\nDog\n", "line 2: 'Dog' stands for 'dog' already"),
        (
            "dog\nappel\nquasar\n",
            r"no artwork for 'appel' \(did you mean apple\?\), 'quasar'\..*concepts show collage.*diffusers --model",
        ),
    ],
)
def test_bad_concepts_are_told_before_anything_starts(tmp_path: Path, content: str | None, says: str) -> None:
    file = tmp_path / "concepts"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandFailed, match=says):
        job_request(DemoOptions(concepts=str(file)))
    with pytest.raises(BadOption, match="ask for 1 to"):
        job_request(DemoOptions(concepts="99999"))


def test_too_few_captions_are_refused_with_the_least_that_will_do() -> None:
    data = resolve("tiny").data
    for concepts in (1, 2, 3, 4, 8, 20, 25, 48):
        with pytest.raises(BadOption, match="--captions 1: too few to train on"):
            check_enough(DemoOptions(captions=1), concepts)
        least = next(n for n in range(1, 5000) if _is_enough(n, concepts))
        with pytest.raises(BadOption, match=rf"--captions {least} is the least for {concepts} concepts"):
            check_enough(DemoOptions(captions=least - 1), concepts)
        # What the trainer itself does with so many captions, when a tenth of the slots has stayed empty.
        planned = -(-int(least * 1.1) // concepts) * concepts
        made = int(planned / 1.1)
        ids = [caption_id("01hzzzzzzzzzzzzzzzzzzzzzz0", index) for index in range(made)]
        table = GroupTable.build(ids, [0] * made, [str(index % concepts) for index in range(made)])
        left = made - int(held_out_set(table, 0, data.held_out).unpack(0, len(table)).sum())
        assert left >= data.captions_per_batch


def _is_enough(captions: int, concepts: int) -> bool:
    try:
        check_enough(DemoOptions(captions=captions), concepts)
    except BadOption:
        return False
    return True


def test_lines_say_what_matters() -> None:
    first = JOB.model_copy(update={"captions_written": 0, "state": JobState.RUNNING})
    assert job_line(first).endswith("· the language model writes the first captions")
    assert job_line(JOB) == "captions 500/528 · images 2000 · 12.3 images/s · ETA 1m15s"
    assert "stalled: the LLM is away" in job_line(JOB.model_copy(update={"stalled": "the LLM is away"}))
    assert run_line(RUN) == "step 240/240 · total 1.500 · - img/s · ETA -"


def test_plain_display_is_calm_and_tells_the_end() -> None:
    out = io.StringIO()
    display = PlainDisplay(Console(file=out, width=200))
    display.stage("job")
    running = JOB.model_copy(update={"state": JobState.RUNNING})
    for _ in range(50):
        display.job(running)
    display.job(JOB)
    assert len(out.getvalue().splitlines()) == 3, "the stage, the first line, the last one"


def test_live_display_draws() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=160)
    display, drawing = open_display(console)
    with drawing:
        display.stage("job")
        display.process("redis", "ready")
        display.job(JOB)
        display.job(JOB.model_copy(update={"stalled": "the LLM [/v1] is away"}))
        display.run(RUN)
    assert "500 kept" in out.getvalue()
    assert "stalled: the LLM [/v1] is away" in out.getvalue()
    assert "step 240/240" in out.getvalue()


def test_summary_tells_all_and_can_be_read_by_programs(tmp_path: Path) -> None:
    state = StackState(
        pid=1,
        api_url="http://a",
        trainer_url="http://b",
        llm_url="http://c",
        redis_port=1,
        store_endpoint="d",
        bucket="synfarm",
        key_file=tmp_path,
        logs=tmp_path,
        started_at=NOW,
    )
    options = DemoOptions(captions=520, seed=1, data_dir=tmp_path)
    summary = summarise(options, state, JOB, RUN, {"captions and images": 90.0})
    assert type(summary).from_bytes(summary.to_bytes()) == summary
    out = io.StringIO()
    print_summary(summary, job_request(options), Console(file=out, width=300))
    text = out.getvalue()
    for part in (
        "50 % of 1000 texts",
        "concept_lost 400, too_long 100",
        "2000 of 64 px",
        "14.0 % ± 2.0 (untrained",
        "22.0 % ± 2.0 (after step 240",
        "raw pixels 11.0 %",
        "90 s",
        "--seed 2 draws others; --steps 480 trains longer",
    ):
        assert part in text
    assert "Fewer captions than wanted: 500 of 520" in text


def test_knn_is_told_as_far_as_there_are_records() -> None:
    assert knn_rows({"0": {}, "9": {"knn": {"top1": "?"}}, "x": 1}) == {}
    assert list(knn_rows({"0": {"knn": knn(0.1)}})) == ["k-NN before", "k-NN floors"]
    rows = knn_rows({"0": {"knn": knn(0.1)}, "9": {"knn": knn(0.2)}, "10": {"knn": knn(0.3)}})
    assert rows["k-NN before"].startswith("10.0 % ± 2.0 (untrained network; 192 images of 48 held-out captions")
    assert rows["k-NN after"] == "30.0 % ± 2.0 (after step 10)"
    assert rows["k-NN floors"] == "raw pixels 11.0 % ± 1.0"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_the_work_in_order(number: signal.Signals) -> None:
    code = """
import asyncio, sys
from synfarm.cli.interrupts import run_interruptible
async def work():
    try:
        sys.stdout.write("working\\n"); sys.stdout.flush()
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.05)
        sys.stdout.write("tidied\\n")
try:
    def told():
        sys.stdout.write("stopping\\n"); sys.stdout.flush()
    run_interruptible(work(), told)
except asyncio.CancelledError:
    sys.exit(130)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    assert process.stdout.readline() == "stopping\n", "told at once, before anything is tidied"
    rest, _ = process.communicate(timeout=30)
    assert rest == "tidied\n"
    assert process.returncode == 130
