"""`synfarm jobs retry|extend|delete` and what a job has written and lost, against the real API."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.captions import CaptionRecord, DropReason, write_jsonl
from synfarm.contracts.commits import Failure
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, manifest_hash
from synfarm.contracts.pages import CaptionPage, FailurePage, ShardPage
from synfarm.contracts.renders import Stage
from synfarm.contracts.views import JobView
from synfarm.sdk import client as sdk_client

pytestmark = pytest.mark.integration
DONE, NOBODYS = "01k" + "0" * 22 + "1", "01k" + "0" * 22 + "9"
_numbers = itertools.count()


@pytest.fixture
def make(farm: Any) -> Callable[..., str]:
    """A job of two units that has ended, the second of them lost; its id is its own and older than all others'."""

    def made(*, dead: int = 1) -> str:
        job = f"00k{next(_numbers):023d}"
        spec = JobSpec.from_bytes(farm.store.get(layout.job(DONE))).model_copy(update={"job": job, "captions": 6})
        farm.store.create(layout.job(job), spec.to_bytes())
        shared = {"caption_id": caption_id(job, 0), "index": 0, "concept": "dog", "draws": 2, "llm_seed": 1}
        kept = CaptionRecord.model_validate(
            {**shared, "llm_model": "stub", "template": "c,rel", "second": "behind", "text": "a dog behind a hedge"}
        )
        lost = kept.model_copy(
            update={
                "caption_id": caption_id(job, 1),
                "index": 1,
                "text": None,
                "empty_reason": DropReason.CONCEPT_LOST,
                "draws": 9,
            }
        )
        farm.store.create(layout.captions(job, 0), write_jsonl([kept, lost]))
        if dead:
            letter = Failure(
                job=job, unit=1, stage=Stage.RENDER, fault="unit", reason="NaN in the image", count=3, at=utc_now()
            )
            farm.store.create(layout.failure(job, 1), letter.to_bytes())
        ended = Ended(
            job=job,
            generation=1,
            state=JobState.COMPLETED_WITH_ERRORS if dead else JobState.COMPLETED,
            reason=None,
            planned=6,
            counts=Counts(units_committed=2 - dead, units_dead=dead, captions=3, images=6),
            rejections={},
            draws=5,
            parts=(),
            manifest_sha256=manifest_hash(()),
            ended_at=utc_now(),
        )
        farm.store.create(layout.ended(job, 1), ended.to_bytes())
        return job

    return made


def test_lost_units_are_shown_and_tried_again(farm: Any, make: Callable[..., str]) -> None:
    job = make()
    shown = farm.run("jobs", "failures", job)
    assert "NaN in the image" in shown.stdout
    assert f"synfarm jobs retry {job}" in shown.stderr
    assert [item.unit for item in FailurePage.from_bytes(farm.run("jobs", "failures", job, "--json").stdout).items] == [
        1
    ]
    done = farm.run("jobs", "retry", job)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"job {job}: ")
    assert f"synfarm jobs watch {job}" in done.stderr
    assert not JobView.from_bytes(farm.run("jobs", "show", job, "--json").stdout).state.is_final
    assert "No unit of job" in farm.run("jobs", "failures", DONE).stderr


def test_more_captions_of_an_ended_job(farm: Any, make: Callable[..., str]) -> None:
    job = make(dead=0)
    fewer = farm.run("jobs", "extend", job, "--captions", "6")
    assert fewer.exit_code == 2
    assert "--captions: captions must be more than the 6" in fewer.stderr
    view = JobView.from_bytes(farm.run("jobs", "extend", job, "--captions", "12", "--json").stdout)
    assert view.planned_captions == 12


def test_what_cannot_be_done_with_a_job_is_told_with_a_command(farm: Any, make: Callable[..., str]) -> None:
    whole = make(dead=0)
    at_work = farm.run("jobs", "submit", "-c", "owl", "-q").stdout.strip()
    for command, told, cure in (
        (("retry", whole), "has no dead units", "synfarm jobs extend"),
        (("retry", at_work), "has not ended yet", "synfarm jobs watch"),
        (("extend", at_work, "--captions", "99"), "has not ended yet", "synfarm jobs watch"),
        (("pause", whole), "has ended", "synfarm jobs retry"),
        (("extend", whole), "--captions", ""),
    ):
        done = farm.run("jobs", *command)
        assert done.exit_code == 2, done.output
        assert told in done.stderr, done.stderr
        assert cure in done.stderr, done.stderr
        assert "/v1" not in done.stderr
    for command in (("retry", NOBODYS), ("delete", NOBODYS), ("failures", NOBODYS), ("captions", NOBODYS)):
        assert farm.run("jobs", *command).exit_code == 4
    farm.run("jobs", "cancel", at_work)


def test_a_job_is_deleted_only_after_a_yes(farm: Any, make: Callable[..., str]) -> None:
    job = make()
    for answer in (b"", b"n\n"):
        asked = farm.run("jobs", "delete", job, stdin=answer)
        assert asked.exit_code == 2, asked.output
        assert f"Delete job {job} (job, completed with errors) with " in asked.stderr
        assert "nothing was deleted" in asked.stderr
        assert asked.stdout == ""
    assert farm.store.head(layout.tombstone(job)) is None
    done = farm.run("jobs", "delete", job, stdin=b"y\n")
    assert (done.exit_code, done.stdout) == (0, f"job {job}: being deleted\n")
    assert farm.store.head(layout.tombstone(job)) is not None
    other = make()
    view = JobView.from_bytes(farm.run("jobs", "delete", other, "--yes", "--json").stdout)
    assert (view.job, view.reason) == (other, "being deleted")


def test_a_job_that_a_lost_try_has_deleted_is_told_as_deleted(
    farm: Any, make: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk_client.Jobs, "delete", lambda jobs, job: None)
    job = make()
    done = farm.run("jobs", "delete", job, "--yes")
    assert (done.exit_code, done.stdout) == (0, f"job {job}: deleted\n")
    view = JobView.from_bytes(farm.run("jobs", "delete", job, "--yes", "--json").stdout)
    assert (view.job, view.reason) == (job, "deleted")


def test_captions_as_they_were_written(farm: Any, make: Callable[..., str]) -> None:
    job = make()
    page = CaptionPage.from_bytes(farm.run("jobs", "captions", job, "--json").stdout)
    assert [(item.text, item.empty_reason) for item in page.items] == [
        ("a dog behind a hedge", None),
        (None, "concept_lost"),
    ]
    shown = farm.run("jobs", "captions", job, "-n", "1")
    for part in ("c,rel", "behind", "a dog behind a hedge"):
        assert part in shown.stdout
    assert f"synfarm jobs captions {job} --cursor 1" in shown.stderr
    assert "(empty: concept_lost)" in farm.run("jobs", "captions", job, "--cursor", "1").stdout
    beyond = farm.run("jobs", "captions", job, "--cursor", "99")
    assert beyond.exit_code == 2
    assert "99" in beyond.stderr


def test_shards_and_the_spec(farm: Any) -> None:
    page = ShardPage.from_bytes(farm.run("jobs", "shards", DONE, "--json").stdout)
    assert page.items[0].shard is not None
    assert page.items[0].shard.key in farm.run("jobs", "shards", DONE).stdout
    assert JobSpec.from_bytes(farm.run("jobs", "spec", DONE).stdout).job == DONE
