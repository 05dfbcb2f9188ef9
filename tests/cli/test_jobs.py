"""`synfarm jobs` against the real API: what is printed, what scripts read, and how each command ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synfarm.cli.watching import _only_news
from synfarm.contracts.base import utc_now
from synfarm.contracts.views import JobPage, JobPlan, JobView, SamplePage
from synfarm.contracts.workers import WorkerInfo
from synfarm.queue.app import connect
from synfarm.queue.keys import Keys
from synfarm.settings import RedisSettings

pytestmark = pytest.mark.integration

DONE, FAILED, NOBODYS = ("01k" + "0" * 22 + digit for digit in "129")


def test_submit_prints_the_id_alone_on_stdout_and_the_rest_beside_it(farm: Any) -> None:
    done = farm.run("jobs", "submit", "--concept", "dog", "--concept", "apple", "--captions", "12", "--size", "64")
    assert done.exit_code == 0, done.stderr
    job = done.stdout.strip()
    assert len(job) == 26
    assert "12 captions of 2 concepts" in done.stderr
    assert f"synfarm jobs watch {job}" in done.stderr
    view = JobView.from_bytes(farm.run("jobs", "show", job, "--json").stdout)
    assert (view.job, view.planned_captions, view.owner) == (job, 12, "ada")


def test_submit_from_every_source_gives_the_same_job(farm: Any, tmp_path: Path) -> None:
    text, listed = tmp_path / "my.txt", tmp_path / "my.json"
    text.write_text("# mine\ndog\napple\n")
    listed.write_text('["dog", {"name": "apple"}]')
    common = ("--captions", "6", "--dry-run", "--json")
    plans = [
        JobPlan.from_bytes(farm.run("jobs", "submit", *source, *common, stdin=stdin).stdout)
        for source, stdin in (
            ((text,), None),
            (("--file", text), None),
            (("-f", "-"), b"dog\napple\n"),
            ((listed,), None),
            (("-",), b"dog\napple\n"),
            (("-c", "dog", "-c", "apple"), None),
        )
    ]
    assert len({tuple(concept.name for concept in plan.spec.concepts) for plan in plans}) == 1
    assert {plan.spec.captions for plan in plans} == {6}


def test_a_dry_run_shows_the_plan_and_makes_nothing(farm: Any) -> None:
    def known() -> list[str]:
        return [item.job for item in JobPage.from_bytes(farm.run("jobs", "list", "--json").stdout).items]

    before = known()
    done = farm.run("jobs", "submit", "-c", "dog", "--images", "2", "--dry-run", "--seed", "5", "--lane", "low")
    assert done.exit_code == 0, done.stderr
    for part in ("1: dog", "10 in", "20: 2 a caption, 256 px, by collage", "prompt 1", "low"):
        assert part in done.stdout
    assert known() == before


def test_an_idempotency_key_makes_one_job(farm: Any) -> None:
    same = ("jobs", "submit", "-c", "dog", "-q", "--idempotency-key", "once")
    one, two = farm.run(*same), farm.run(*same)
    assert one.stdout == two.stdout
    other = farm.run(*same, "--seed", "1")
    assert other.exit_code == 2
    assert "key" in other.stderr


def test_reading_commands_give_one_contract_as_json(farm: Any) -> None:
    for command, kind in (
        (("jobs", "list"), JobPage),
        (("jobs", "show", DONE), JobView),
        (("jobs", "watch", DONE), JobView),
        (("samples", DONE), SamplePage),
    ):
        done = farm.run(*command, "--json")
        assert done.exit_code == 0, done.stderr
        assert done.stdout.count("\n") == 1
        kind.from_bytes(done.stdout)


@pytest.mark.parametrize("what", ["jobs", "runs"])
def test_the_hint_to_the_next_page_keeps_its_size(farm: Any, what: str) -> None:
    page = farm.run(what, "list", "-n", "1")
    assert f"There are more: synfarm {what} list -n 1 --cursor " in page.stderr
    told = page.stderr.split("synfarm ", 1)[1].split()
    assert farm.run(*told).exit_code == 0


def test_the_spec_is_json_whether_told_or_not(farm: Any) -> None:
    assert farm.run("jobs", "spec", DONE, "--json").stdout == farm.run("jobs", "spec", DONE).stdout
    assert json.loads(farm.run("jobs", "spec", DONE, "--json").stdout)["job"] == DONE


def test_list_and_show_for_people(farm: Any) -> None:
    listed = farm.run("jobs", "list", "-n", "200")
    assert f"{DONE}   job" in listed.stdout
    shown = farm.run("jobs", "show", FAILED)
    for part in ("failed", "2 of 3 units are dead", "repeats 2", "5 asked"):
        assert part in shown.stdout
    assert "\x1b" not in listed.stdout + shown.stdout, "no colours where there is no terminal"


def test_watch_ends_as_the_job_did(farm: Any) -> None:
    good = farm.run("jobs", "watch", DONE)
    assert good.exit_code == 0
    assert (
        good.stdout == f"job {DONE} completed: 3 captions, 6 images, 0 slots left empty; "
        "60 % of 5 texts kept; refused: repeats 2\n"
    )
    assert f"Next: synfarm samples {DONE} -o pictures" in good.stderr
    bad = farm.run("jobs", "watch", FAILED)
    assert bad.exit_code == 1
    assert bad.stderr.endswith(f"synfarm: job {FAILED} ended failed: 2 of 3 units are dead.\n")


def test_json_lines_tell_news_alone(farm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    view = JobView.from_bytes(farm.run("jobs", "show", DONE, "--json").stdout)
    write = _only_news()
    for update in ({}, {"as_of": utc_now()}, {"draws": 7}):
        write(view.model_copy(update=update))
    assert [JobView.from_bytes(line).draws for line in capsys.readouterr().out.splitlines()] == [5, 7]


def test_pause_resume_cancel_and_watch_to_the_end(farm: Any) -> None:
    job = farm.run("jobs", "submit", "-c", "owl", "-q").stdout.strip()
    assert JobView.from_bytes(farm.run("jobs", "pause", job, "--json").stdout).state.value == "paused"
    assert "paused" not in farm.run("jobs", "resume", job).stdout
    assert farm.run("jobs", "cancel", "latest").exit_code == 0
    ended = farm.run("jobs", "watch", job, "--json")
    assert ended.exit_code == 1, "a cancelled job is not a completed one"
    lines = ended.stdout.splitlines()
    assert JobView.from_bytes(lines[-1]).state.value == "cancelled"
    again = farm.run("jobs", "cancel", DONE)
    assert again.exit_code == 2
    assert "has ended" in again.stderr


def test_samples_are_saved_as_in_a_shard(farm: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "here"
    done = farm.run("samples", DONE, "-o", folder, "-n", "2")
    assert done.exit_code == 0, done.stderr
    assert f"2 captions with 4 images saved in {folder}" in done.stderr
    kept = sorted(path.name for path in folder.iterdir())
    assert len(kept) == 2 * 3 + 1
    first = kept[0].split(".")[0]
    assert (folder / f"{first}.0.jpg").read_bytes().startswith(b"image ")
    assert json.loads((folder / f"{first}.json").read_text())["caption_id"] == first
    assert len((folder / "captions.tsv").read_text().splitlines()) == 2
    assert first in done.stdout


def test_samples_of_one_concept(farm: Any) -> None:
    page = SamplePage.from_bytes(farm.run("samples", DONE, "--concept", "owl", "--json").stdout)
    assert [group.concept for group in page.items] == ["owl"]


def test_workers_when_there_are_none(farm: Any) -> None:
    told = farm.run("workers")
    assert told.exit_code == 0
    assert "No worker is alive" in told.stderr
    assert json.loads(farm.run("workers", "--json").stdout) == {"items": []}


def test_workers_tell_what_they_load_and_a_job_that_waits_in_vain_says_so(farm: Any, redis_server: Any) -> None:
    info = WorkerInfo(
        id="render-x",
        kind="render",
        capabilities=("sd15-m",),
        host="gpu7",
        pid=5,
        started_at=utc_now(),
        loading="hub/model@abc",
        trouble="render.model: 'hub/model' is gated",
    )
    redis = connect(RedisSettings(url=redis_server.url(database=9)))
    keys = Keys("synfarm")
    try:
        redis.sadd(keys.workers, info.id)
        redis.set(keys.worker(info.id), info.to_bytes())
        told = farm.run("workers")
        assert "loads" in told.stdout
        assert "gpu7:5 could not load: render.model: 'hub/model' is gated" in " ".join(told.stderr.split())
        options = (
            "-c",
            "dog",
            "--captions",
            "8",
            "--renderer",
            "diffusers",
            "--model",
            "hub/model",
            "--revision",
            "abc",
        )
        made = farm.run("jobs", "submit", *options, "--family", "sd15", "--size", "512")
        vain = "no render worker that serves sd15-m can load its model: render.model: 'hub/model' is gated"
        said = " ".join(made.stderr.split())
        # The farm has no caption worker either, which is told when it has had the time to start one.
        assert "Held up: " in said
        assert vain in said
        shown = JobView.from_bytes(farm.run("jobs", "show", made.stdout.strip(), "--json").stdout)
        assert shown.stalled is not None
        assert vain in shown.stalled
        assert "stalled" in farm.run("jobs", "show", made.stdout.strip()).stdout
        farm.run("jobs", "cancel", shown.job)
    finally:
        redis.delete(keys.worker(info.id))
        redis.srem(keys.workers, info.id)
        redis.close()


@pytest.mark.parametrize("how", [(), ("--dry-run",)])
def test_the_cure_for_a_concept_without_artwork_is_one_of_the_command(farm: Any, how: tuple[str, ...]) -> None:
    done = farm.run("jobs", "submit", "-c", "cerberus", "-c", "quasar", *how)
    assert done.exit_code == 2
    for part in ("'cerberus'", "'quasar'", "synfarm concepts show collage", "--renderer diffusers --model"):
        assert part in done.stderr
    assert "GET /v1" not in done.stderr
