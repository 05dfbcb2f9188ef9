"""2,000 captions from an LLM that is busy, broken and silent by turns and dies: nothing is lost, nothing twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from synfarm.concepts import load
from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord, read_jsonl
from synfarm.contracts.ids import caption_id
from synfarm.local.ports import HeldPorts

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(240)]

CAPTIONS, PER_UNIT = 2000, 50


def _metric(text: str, name: str, **labels: str) -> float:
    """Sum over the servers of a metric of the caption worker."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in text.splitlines() if line.startswith(f"synfarm_caption_llm_{name}{{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in wanted))


async def test_an_unruly_llm_loses_nothing_and_is_paid_for_nothing_twice(
    farm: Any, quick: dict[str, str], tmp_path: Path
) -> None:
    done_to, held = tmp_path / "done-to-requests", HeldPorts(1)
    extra = {
        **quick,
        "STUB_LLM_UNRULY": str(done_to),
        "SYNFARM_CAPTION_LLM_TIMEOUT_SECONDS": "3",
        "SYNFARM_CAPTION_LLM_MAX_IN_FLIGHT": "64",
        # However slowly it starts again here: the units in work wait for it, and lose none of their captions.
        "SYNFARM_CAPTION_LLM_AWAY_SECONDS": "90",
        "SYNFARM_CAPTION_WORKER_PORT": str(held.numbers[0]),
    }
    async with farm(extra=extra) as f:
        concepts = [concept.name for concept in load("collage")]
        job = (
            await f.submit(
                captions=CAPTIONS, per_unit=PER_UNIT, size=32, concepts=concepts, images_per_caption=1, seed=11
            )
        ).job

        async def half() -> bool:
            return sum(1 for _ in f.store.list(layout.captions_prefix(job))) >= CAPTIONS // PER_UNIT // 2

        await f.until(half, 90)
        pid = f.supervisor.pid("llm-server")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        written = sum(1 for _ in f.store.list(layout.captions_prefix(job)))
        assert written < CAPTIONS // PER_UNIT, "the LLM died after the last caption"
        ended = await f.finish(job, seconds=150)

        units = range(CAPTIONS // PER_UNIT)
        records: list[CaptionRecord] = []
        for unit in units:
            records += read_jsonl(f.store.get(layout.captions(job, unit)))
        view = await f.client.jobs.get(job)
        async with httpx.AsyncClient(timeout=30) as client:
            metrics = (await client.get(f"http://127.0.0.1:{held.numbers[0]}/metrics")).text
        assert f.supervisor.restarted["llm-server"] >= 1
        assert "caption-worker" not in f.supervisor.restarted
        assert (f.logged("caption-worker", "unit_fault"), f.logged("caption-worker", "environment_fault")) == (0, 0)

    assert [record.caption_id for record in records] == [caption_id(job, index) for index in range(CAPTIONS)]
    accepted = sum(record.text is not None for record in records)
    assert ended.counts.captions == accepted
    assert ended.counts.empty == CAPTIONS - accepted
    assert (view.captions_written, view.counts.captions) == (accepted, accepted)
    rejections: Counter[str] = Counter()
    for record in records:
        rejections.update({reason.value: count for reason, count in record.rejections.items()})
    draws = sum(record.draws for record in records)
    assert (view.draws, dict(view.rejections)) == (draws, dict(rejections))
    assert draws == accepted + sum(rejections.values())
    assert rejections, "the stub loses its concept in one answer of ten"
    # Each answer that the worker got is one draw of one record: no unit was begun anew, and no answer thrown away.
    assert _metric(metrics, "requests_total", outcome="answered") == draws

    met = Counter(done_to.read_text().split())
    sent = draws + met.total()
    assert met["busy"] > 0.15 * sent
    assert met["broken"] > 0.03 * sent
    assert met["silent"] > 0.01 * sent
    assert _metric(metrics, "requests_total", outcome="timed_out") >= 0.8 * met["silent"]
    assert _metric(metrics, "requests_total", outcome="pushed_back") >= 0.8 * met["busy"]
    assert _metric(metrics, "retries_total") >= met["broken"]
