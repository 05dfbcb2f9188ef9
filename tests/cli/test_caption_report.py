"""`synfarm jobs report` and the clients' call behind it."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.caption_reports import CaptionReport
from synfarm.contracts.captions import CaptionRecord, DropReason, write_jsonl
from synfarm.contracts.ids import caption_id
from synfarm.contracts.origins import Template
from synfarm.sdk import AsyncClient, ClientConfig

pytestmark = pytest.mark.integration

FAILED, NOBODYS = ("01k" + "0" * 22 + digit for digit in "29")


@pytest.fixture
def job(farm: Any) -> str:
    """A job whose captions are there: two kept, one slot empty."""

    def record(index: int, concept: str, text: str | None, **changes: Any) -> CaptionRecord:
        return CaptionRecord(
            caption_id=caption_id(FAILED, index),
            index=index,
            concept=concept,
            text=text,
            empty_reason=None if text else DropReason.REPEATS,
            draws=1 if text else 9,
            llm_seed=0,
            llm_model="m",
            **changes,
        )

    records = [
        record(0, "dog", "a dog on the grass"),
        record(1, "owl", "an owl in a barn at night", template=Template.BACKGROUND, second="old barn"),
        record(2, "red fox", None),
    ]
    farm.store.put(layout.captions(FAILED, 0), write_jsonl(records))
    return FAILED


def test_people_read_a_table_and_programs_json(farm: Any, job: str) -> None:
    done = farm.run("jobs", "report", job)
    assert done.exit_code == 0, done.stderr
    for part in (
        f"{job} (failed)",
        "5 asked of the language model, 60 % kept; refused: repeats 2",
        "2 captions of 1 units, spread over 1",
        "5 █ █ 7  mean 6.0",
        "template c,bg",
        "second field taken up by 100 %",
    ):
        assert part in done.stdout, (part, done.stdout)
    report = CaptionReport.from_bytes(farm.run("jobs", "report", job, "--json").stdout)
    assert (report.sample.captions, report.sample.kept, report.empty_reasons) == (3, 2, {"repeats": 1})


def test_a_job_that_is_not_there_is_told_as_everywhere(farm: Any) -> None:
    done = farm.run("jobs", "report", NOBODYS)
    assert done.exit_code == farm.run("jobs", "show", NOBODYS).exit_code != 0
    assert NOBODYS in done.stderr


async def test_the_async_client_has_the_same_call(farm: Any, job: str) -> None:
    async with AsyncClient(ClientConfig(api_url=farm.url, key=farm.key)) as client:
        report = await client.jobs.report(job)
    assert report.job == job
    assert report.words is not None
    assert report.words.histogram == {5: 1, 7: 1}


def test_captions_are_listed_by_index_and_whole_ids_are_for_programs(farm: Any, job: str) -> None:
    lines = farm.run("jobs", "captions", job).stdout.splitlines()
    assert lines[0].split() == ["index", "concept", "template", "second", "text", "texts"]
    assert [line.split()[0] for line in lines[2:]] == ["0", "1", "2"]
    assert caption_id(job, 1) in farm.run("jobs", "captions", job, "--json").stdout
