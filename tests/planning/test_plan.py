"""The plan's arithmetic, what it refuses, and that docs/scale.md says what it says now."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from synfarm.cli.app import app
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobRequest, JobSpec
from synfarm.planning.asked import PlanAsked
from synfarm.planning.planning import PlanRefused, make_plan
from synfarm.planning.rates import OwnRates
from synfarm.planning.scale_plan import ScalePlan
from synfarm.planning.shard_bytes import estimated_bytes
from synfarm.planning.simulation.of_plan import farm_of_plan
from synfarm.planning.simulation.run import simulate
from synfarm.planning.spread import Spread
from synfarm.planning.store_requests import training_reads
from synfarm.planning.unit_size import default_unit_size

_spec = importlib.util.spec_from_file_location("write_scale", Path(__file__).parents[2] / "scripts" / "write_scale.py")
assert _spec is not None
assert _spec.loader is not None
write_scale = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(write_scale)

KNOWN = OwnRates.model_validate(
    {"source": "ours", "images_per_second": 2, "tokens_per_second": 1000, "draws_per_caption": 1, "new_tokens": 20}
)


def planned(own: OwnRates | None = KNOWN, **asked: Any) -> ScalePlan:
    return make_plan(PlanAsked.model_validate({"captions": 1_000_000, **asked}), own)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["plan", *arguments])


def test_hours_and_money_by_hand() -> None:
    plan = planned(render_gpus=10, price_per_gpu_hour=3, captions_per_unit=50)
    assert plan.dataset.units == 20_000
    assert plan.making.render_gpu_hours == Spread.exactly(4_000_000 / 2 / 3600)
    assert plan.making.llm_gpu_hours == Spread.exactly(20_000_000 / 1000 / 3600)
    assert plan.making.llm_gpus == 1
    assert plan.making.hours.likely == pytest.approx(4_000_000 / 2 / 3600 / 10)
    assert plan.making.units_per_second == pytest.approx(10 * 2 / 200)
    assert plan.cost is not None
    assert plan.cost.likely == pytest.approx(3 * (4_000_000 / 2 + 20_000) / 3600)
    assert plan.sources["images_per_second"] == "ours"


def test_render_workers_that_wait_for_captions_are_paid() -> None:
    """As the simulated farm has it: every worker, from the first caption to the last commit."""
    plan = planned(render_gpus=2000, llm_gpus=1, price_per_gpu_hour=3, captions_per_unit=50)
    captions = 20_000_000 / 1000 / 3600
    assert plan.making.hours.likely == pytest.approx(captions)
    assert plan.making.render_gpu_hours.likely == pytest.approx(2000 * captions)
    assert plan.cost is not None
    assert plan.cost.likely == pytest.approx(3 * 2001 * captions)
    assert any(note.startswith("llm_gpus:") for note in plan.notes)
    enough = planned(render_gpus=10, llm_gpus=1, captions_per_unit=50)
    assert not any(note.startswith("llm_gpus:") for note in enough.notes)


def test_sizes_are_those_that_the_farm_itself_tells() -> None:
    """The dry run of `jobs submit` and this plan count with one function, and cut the job into the same units."""
    plan = planned()
    render = plan.asked.render
    request = JobRequest.model_validate({"concepts": ["dog"], "captions": 1_000_000, "render": render})
    body = request.model_dump(exclude={"captions_per_unit"}, exclude_none=True)
    unit = default_unit_size(request)
    spec = JobSpec.model_validate(
        {**body, "job": "01k" + "0" * 23, "owner": "me", "created_at": utc_now(), "captions_per_unit": unit}
    )
    assert (plan.dataset.captions_per_unit, plan.dataset.units) == (unit, spec.units)
    assert plan.dataset.shard_bytes == estimated_bytes(spec)


def test_losses_take_half_a_unit_and_the_start_of_a_successor() -> None:
    calm, rough = (planned(captions_per_unit=50, preemptions_per_gpu_hour=rate, render_gpus=20) for rate in (0.0, 0.1))
    unit = 50 * 4 / 2
    assert rough.making.lost_share == pytest.approx(0.1 * (unit / 2 + 120) / 3600, rel=0.01)
    assert rough.making.hours.likely == pytest.approx(calm.making.hours.likely / (1 - rough.making.lost_share))
    with pytest.raises(PlanRefused, match="leave no time to work"):
        planned(captions_per_unit=1000, preemptions_per_gpu_hour=60)


@pytest.mark.parametrize(("workers", "losses"), [(40, 0.0), (40, 6.0), pytest.param(2500, 0.0, marks=pytest.mark.long)])
def test_the_plan_is_the_mean_of_the_simulated_farm(workers: int, losses: float) -> None:
    """Also where the feeder's window is too small for the workers: the middle of a long job, without its ends."""
    plan = planned(
        None, captions=10_000_000, render_gpus=workers, preemptions_per_gpu_hour=losses, captions_per_unit=30
    )
    farm, first = farm_of_plan(plan), max(5 * workers, 800)
    took = 0.0
    for seed in range(4 if losses else 1):
        begun, on = (simulate(farm.model_copy(update={"units": times * first}), seed).seconds for times in (1, 2))
        took += (on - begun) / (4 if losses else 1)
    assert first / took == pytest.approx(plan.making.units_per_second, rel=0.05)


@settings(max_examples=25)
@given(
    captions=st.integers(1000, 2_000_000_000),
    gpus=st.integers(1, 4000),
    more=st.integers(1, 4000),
    images=st.integers(1, 8),
)
def test_more_work_takes_longer_and_more_gpus_less(captions: int, gpus: int, more: int, images: int) -> None:
    plan = planned(captions=captions, render_gpus=gpus, images_per_caption=images)
    wider = planned(captions=captions, render_gpus=gpus + more, images_per_caption=images)
    longer = planned(
        captions=2 * captions if captions < 10**9 else captions, render_gpus=gpus, images_per_caption=images
    )
    assert wider.making.hours.likely <= plan.making.hours.likely * (1 + 1e-9)
    assert longer.making.hours.likely >= plan.making.hours.likely * (1 - 1e-9)
    assert plan.limits == tuple(sorted(plan.limits, key=lambda limit: -limit.share))


def test_a_rate_that_is_zero_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rates.json"
    file.write_text('{"images_per_second": 0}')
    result = run("--rates", str(file))
    assert result.exit_code == 2
    assert "images_per_second must be above 0" in result.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[3, 4]", "it must be an object of named values, not a list: source, images_per_second, tokens_per_second,"),
        ("null", "it must be an object of named values, not nothing: source, images_per_second, "),
        ('{"images_per_second": [3, 4]}', "images_per_second: must be an object of named values, not a list."),
        ('{"new_tokens": "many"}', "new_tokens: must be a valid number"),
        ('{"tokens": 3}', "tokens: "),
    ],
)
def test_rates_of_another_form_are_refused_with_the_field(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "rates.json"
    file.write_text(text)
    result = run("--rates", str(file))
    assert result.exit_code == 2
    assert f"--rates {file}: {says}" in result.stderr


def test_own_rates_from_yaml_and_json_are_the_same(tmp_path: Path) -> None:
    told = []
    for name, text in {
        "rates.yaml": "source: our H200\nimages_per_second: {low: 3, likely: 4, high: 5}\n",
        "rates.json": '{"source": "our H200", "images_per_second": {"low": 3, "likely": 4, "high": 5}}',
    }.items():
        (tmp_path / name).write_text(text)
        result = run("--rates", str(tmp_path / name), "--captions", "1000", "--json")
        assert result.exit_code == 0, result.output
        told.append(json.loads(result.stdout)["plan"])
    assert told[0] == told[1]
    assert told[0]["sources"]["images_per_second"] == "our H200"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--family", "sdxl"], "--family: there is no figure for 'sdxl'; give images_per_second by --rates"),
        (["--train", "tiny"], "--train: 'tiny' is none of synclr-b16-paper"),
        (["--size", "9"], "--size, --render-size"),
        (["--preemptions", "60", "--captions-per-unit", "1000"], "--preemptions: 60 with units of"),
        (["--render-gpus", "30000", "--simulate", "2"], "--simulate: render_workers, 30,000: Input should be less"),
        (["--captions", "2000000000", "--captions-per-unit", "1", "--simulate", "2"], "--simulate: units, 2,000,"),
        (["--rates", "/nowhere/rates.json"], "--rates /nowhere/rates.json: No such file"),
    ],
)
def test_what_cannot_be_planned_names_the_option(arguments: list[str], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_the_tables_show_what_the_json_has() -> None:
    shown = run("--captions", "1000000", "--train", "table4-all", "--price", "2", "--simulate", "2")
    assert shown.exit_code == 0, shown.output
    for part in ("33,334 units of 30", "Training table4-all", "What breaks first", "In fast motion, 2 times", "DINOv3"):
        assert part in shown.output


def test_the_page_has_the_figures_of_the_plan() -> None:
    page = write_scale.PAGE.read_text(encoding="utf-8")
    assert write_scale.written(page, simulated=False) == page, "run 'make scale'"


@pytest.mark.long
@pytest.mark.parametrize(
    ("unit", "whole", "gets", "gigabytes"),
    [
        (30, False, "23,597", "1.7"),
        (240, False, "16,496", "2.0"),
        (30, True, "14,001", "11.7"),
        (240, True, "3,846", "12.1"),
        (9, False, "23,929", "11.6"),
    ],
)
def test_the_page_says_what_cuts_the_reads_of_a_run(unit: int, whole: bool, gets: str, gigabytes: str) -> None:
    words = {"captions": 150_000_000, "train": ["synclr-b16-paper"], "captions_per_unit": unit}
    plan = make_plan(asked := PlanAsked.model_validate(words), None)
    captions = plan.training[0].images_per_second / asked.images_per_caption
    reads = training_reads(asked, plan.dataset, whole=whole)
    assert f"{captions * reads.gets:,.0f}" == gets
    assert f"{captions * reads.bytes / 1e9:.1f}" == gigabytes
    assert f"| {gets} | {gigabytes} GB/s |" in write_scale.PAGE.read_text()


def test_the_page_has_the_figures_of_the_simulator() -> None:
    page = write_scale.PAGE.read_text(encoding="utf-8")
    assert write_scale.written(page) == page, "run 'make scale'"
