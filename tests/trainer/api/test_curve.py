"""One curve of a run out of the parts and journals of all its attempts, at a cost that does not grow with the run."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synfarm.contracts import layout
from synfarm.contracts.runs import RunAttempt, StepMetrics
from synfarm.storage.memory import MemoryStore
from synfarm_trainer.api.curve import RunCurve
from synfarm_trainer.api.journal import last_step, steps_after
from synfarm_trainer.api.metrics_parts import MetricsParts
from synfarm_trainer.api.records import RunRecords, new_ulid
from synfarm_trainer.launch.files import RunFiles

RUN = new_ulid()
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def _line(step: int, of: float = 0.0) -> StepMetrics:
    return StepMetrics(
        step=step,
        at=BEGUN + timedelta(seconds=step),
        epoch=step / 10,
        losses={"total": of},
        loss_hex="0x0",
        batch_sha256="0" * 64,
        learning_rate=0.1,
        ema_momentum=0.9,
        seconds=1.0,
        data_wait_seconds=0.1,
        images_per_second=10.0,
    )


class Site:
    """A store whose requests are counted, and the state folder of one service."""

    def __init__(self, folder: Path) -> None:
        self.asked: Counter[str] = Counter()
        self.store = MemoryStore(fault=lambda operation, key: self.asked.update([operation]))
        self.files, self.followed = RunFiles(folder), set[int]()
        self.records, self.parts = RunRecords(self.store), MetricsParts(self.store)
        self.curve = RunCurve(self.records, self.parts, self.files, lambda run, number: number in self.followed)

    def attempt(self, number: int, resumed: int) -> None:
        made = RunAttempt(run=RUN, number=number, token=new_ulid(), started_at=BEGUN, host="here", resumed_step=resumed)
        self.store.create(layout.attempt(RUN, number), made.to_bytes())

    def upload(self, number: int, first: int, last: int, a_part: int = 5) -> None:
        steps = list(range(first, last + 1))
        for part, begin in enumerate(range(0, len(steps), a_part)):
            lines = [_line(step, float(number)).to_bytes() + b"\n" for step in steps[begin : begin + a_part]]
            self.store.put(layout.metrics_part(RUN, number, part), b"".join(lines))

    def journal(self, number: int, first: int, last: int, end: str = "") -> Path:
        path = self.files.journal(RUN, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [{"type": "state", "at": BEGUN.isoformat(), "data": {"state": "running"}}]
        for step in range(first, last + 1):
            data = _line(step, float(number)).model_dump(mode="json")
            lines.append({"type": "step", "at": BEGUN.isoformat(), "data": data})
            lines.append({"type": "state", "at": BEGUN.isoformat(), "data": {"state": "running", "warning": "w"}})
        path.write_text("".join(json.dumps(line) + "\n" for line in lines) + end)
        return path

    def seen(self, since: int = 0, limit: int = 1000) -> list[tuple[int, float]]:
        return [(line.step, line.losses["total"]) for line in self.curve.page(RUN, since, limit)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_later_attempts_replace_what_they_went_back_behind(site: Site) -> None:
    for number, resumed, first, last in ((0, 0, 1, 23), (1, 20, 21, 33), (2, 10, 11, 12), (3, 12, 0, -1)):
        site.attempt(number, resumed)
        site.upload(number, first, last)
    assert site.seen() == [(step, 0.0) for step in range(1, 11)] + [(11, 2.0), (12, 2.0)]
    assert site.curve.last(RUN, [0, 1, 2, 3]) == (2, _line(12, 2.0))


def test_an_attempt_that_died_before_its_first_step_takes_no_steps_away(site: Site) -> None:
    # It was opened before the checkpoint of step 20 was committed, from which the next one went on.
    for number, resumed, first, last in ((0, 0, 1, 23), (1, 10, 0, -1), (2, 20, 21, 22)):
        site.attempt(number, resumed)
        site.upload(number, first, last)
    assert site.seen() == [(step, 0.0) for step in range(1, 21)] + [(21, 2.0), (22, 2.0)]


def test_an_attempt_that_passed_over_its_checkpoint_tells_its_start_by_its_first_step(site: Site) -> None:
    site.attempt(0, 0)
    site.upload(0, 1, 10)
    site.attempt(1, 8)  # what the service took for the newest checkpoint; the rank went on from step 4
    site.upload(1, 5, 6)
    assert site.seen() == [(step, 0.0) for step in range(1, 5)] + [(5, 1.0), (6, 1.0)]


def test_pages_are_the_whole_curve(site: Site) -> None:
    site.attempt(0, 0)
    site.upload(0, 1, 40)
    site.attempt(1, 30)
    site.upload(1, 31, 60)
    whole, since, pages = site.seen(), 0, []
    while page := site.seen(since, 7):
        pages += page
        since = page[-1][0]
    assert pages == whole
    assert [step for step, _ in whole] == list(range(1, 61))


def test_a_page_of_a_long_run_reads_few_parts(site: Site) -> None:
    """Of 4,000 parts; reading them all, or listing them, fails this."""
    site.attempt(0, 0)
    site.upload(0, 1, 20_000)
    site.asked.clear()
    assert site.seen(17_777, 10) == [(step, 0.0) for step in range(17_778, 17_788)]
    assert site.asked["get"] <= 40
    assert site.asked["list"] == 1  # of the attempts
    site.asked.clear()
    assert len(site.seen(17_787, 10)) == 10
    assert site.asked["get"] <= 8, "the next page is found beside the last one"
    site.asked.clear()
    last = site.parts.last(RUN, 0)
    assert last is not None
    assert last.step == 20_000
    assert site.asked["get"] <= 40


def test_the_journal_goes_on_where_the_uploads_end_and_the_other_way_round(site: Site) -> None:
    site.attempt(0, 0)
    site.upload(0, 1, 10)
    site.journal(0, 1, 14)
    site.attempt(1, 12)  # on another machine
    site.upload(1, 13, 15)
    assert site.seen(8) == [(9, 0.0), (10, 0.0), (11, 0.0), (12, 0.0), (13, 1.0), (14, 1.0), (15, 1.0)]
    site.journal(1, 13, 14, end='{"type": "st')  # a machine that lost the end of its file
    assert site.seen(12) == [(13, 1.0), (14, 1.0), (15, 1.0)]
    site.followed.add(1)
    assert site.seen(12) == [(13, 1.0), (14, 1.0)], "what is followed here is read here alone"


def test_a_long_journal_is_halved_and_its_end_is_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.journal(0, 5, 3000, end='{"type": "step", "at"')
    monkeypatch.setattr("synfarm_trainer.api.journal._NEAR", 2000)
    for since in (0, 4, 5, 1717, 2998, 2999):
        assert [line.step for line in steps_after(path, since)][:3] == list(range(max(5, since + 1), 3001))[:3], since
    assert list(steps_after(path, 3000)) == []
    assert last_step(path) == _line(3000, 0.0)
    path.write_text('{"type": "state", "at": "2026-01-01T00:00:00Z", "data": {}}\n' * 200)
    assert last_step(path) is None
    assert last_step(path.with_name("none")) is None
