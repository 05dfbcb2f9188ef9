"""The scores stand in the records that a unit writes."""

from __future__ import annotations

from collections.abc import Callable

from synfarm.contracts.jobs import JobSpec
from synfarm_caption_api import gate
from synfarm_caption_api.captioning import caption_unit
from synfarm_caption_api.prompts.draw import Drawer
from synfarm_caption_api.prompts.pools import load_pools
from synfarm_caption_api.text_generator import FakeGenerator


async def test_kept_captions_carry_scores_and_empty_slots_none(make_spec: Callable[..., JobSpec]) -> None:
    spec = make_spec(caption={"max_redraws": 0})
    generator = FakeGenerator(lambda concept, seed: f"a {concept} on a beach {seed}" if concept != "owl" else "=> leak")
    drawer = Drawer(spec, load_pools())
    records = await caption_unit(spec, 0, drawer=drawer, generator=generator, progress=lambda: None)
    assert {record.text is None for record in records} == {True, False}
    for record in records:
        concept = drawer.draw(record.index).concept
        expected = {} if record.text is None else gate.scores(record.text, concept, None, None)
        assert record.scores == expected
        assert len(record.scores) == (0 if record.text is None else 3)
