"""One unit's captions against the fake generator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from synfarm.contracts.captions import CaptionRecord, DropReason
from synfarm.contracts.jobs import JobSpec
from synfarm_caption_api.captioning import caption_unit
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.text_generator import FakeGenerator, GeneratorAway

POOLS = load_pools()
Make = Callable[..., JobSpec]


async def write(spec: JobSpec, generator: FakeGenerator, unit: int = 0) -> tuple[list[CaptionRecord], int]:
    beats: list[None] = []
    records = await caption_unit(
        spec, unit, drawer=Drawer(spec, POOLS), generator=generator, progress=lambda: beats.append(None)
    )
    return records, len(beats)


async def test_every_planned_caption_gets_a_record_and_requests_overlap(make_spec: Make) -> None:
    """Pitfall 36: as many as were planned, whatever is asked at once."""
    generator = FakeGenerator(delay=0.01)
    records, beats = await write(make_spec(), generator, unit=2)
    assert [record.index for record in records] == [16, 17, 18, 19]
    assert all(record.text and record.draws == 1 and record.llm_model == "fake" for record in records)
    assert beats == generator.calls == generator.peak == 4


async def test_a_refused_text_is_drawn_again_and_counted(make_spec: Make) -> None:
    first = {Drawer(make_spec(), POOLS).draw(i).llm_seed for i in range(8)}

    def drift(concept: str, seed: int) -> str:
        return f"a cat on a beach {seed}" if seed in first else f"a {concept} on a beach {seed}"

    records, _ = await write(make_spec(), FakeGenerator(drift))
    assert all(r.text is not None and r.draws == 2 for r in records)
    assert all(r.rejections == {DropReason.CONCEPT_LOST: 1} for r in records)
    assert records[0].llm_seed == Drawer(make_spec(), POOLS).draw(0, 1).llm_seed


async def test_a_slot_stays_empty_with_its_reason_after_the_last_redraw(make_spec: Make) -> None:
    """Pitfall 36: no empty line is kept."""
    generator = FakeGenerator(lambda concept, seed: "=> => a prompt leak again")
    records, _ = await write(make_spec(caption={"max_redraws": 2}), generator)
    assert generator.calls == 8 * 3
    for record in records:
        assert (record.text, record.empty_reason, record.draws) == (None, DropReason.PROMPT_LEAK, 3)
        assert record.rejections == {DropReason.PROMPT_LEAK: 3}


async def test_a_unit_holds_no_text_twice_whatever_answer_comes_first(make_spec: Make) -> None:
    spec = make_spec(concepts=["dog"], caption={"max_redraws": 1})
    records, _ = await write(spec, FakeGenerator(lambda concept, seed: f"A {concept} on a beach."))
    assert [record.text for record in records] == ["A dog on a beach."] + [None] * 7
    assert {record.empty_reason for record in records[1:]} == {DropReason.DUPLICATE}


async def test_an_llm_that_goes_away_ends_the_unit_and_its_other_requests(make_spec: Make) -> None:
    gone = Drawer(make_spec(), POOLS).draw(3).llm_seed

    class Slow(FakeGenerator):
        async def generate(self, prompt: str, *, seed: int, **rest: object) -> object:  # type: ignore[override]
            if seed == gone:
                raise GeneratorAway("gone")
            self.in_flight += 1
            try:
                await asyncio.sleep(60)
            finally:
                self.in_flight -= 1
            raise AssertionError

    generator = Slow()
    with pytest.raises(GeneratorAway):
        await asyncio.wait_for(write(make_spec(), generator), 10)
    assert generator.in_flight == 0
