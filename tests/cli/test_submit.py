"""`synfarm jobs submit` says all that a request can say, and tells each bad value by its option, with a cure."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from synfarm.cli import asking, drawing, submit
from synfarm.cli.shares import parse_shares
from synfarm.cli.submission import _OPTIONS
from synfarm.contracts.jobs import CaptionSettings, JobRequest, Lane, RenderSettings
from synfarm.contracts.origins import Layout, PoolFile, Variant
from synfarm.contracts.render_presets import PresetName, Sampler
from synfarm.contracts.render_settings import LoraRef, ModelRef
from synfarm.contracts.views import JobPlan
from synfarm.contracts.webhooks import Webhook

DONE = "01k" + "0" * 22 + "1"
POOL = "pool,concept,second,caption\n" + "".join(f"object,pot {n},,a pot of kind {n}\n" for n in range(4))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the files that options name, which is where the command runs."""
    (tmp_path / "yards.json").write_text('["a snowy yard", "a harbor at dusk"]')
    (tmp_path / "by.json").write_text('{"dog": ["a kennel"], "owl": ["a barn at night"]}')
    (tmp_path / "pool.csv").write_text(POOL)
    (tmp_path / "secret").write_text("whsec_" + "QUJD" * 8 + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _plan(farm: Any, *options: str | Path) -> JobPlan:
    done = farm.run("jobs", "submit", *options, "--dry-run", "--json")
    assert done.exit_code == 0, done.stderr
    return JobPlan.from_bytes(done.stdout)


@pytest.mark.integration
def test_every_option_reaches_the_plan(farm: Any, files: Path) -> None:
    prompts = ("--layout", "subject", "--examples-per-draw", "4", "--temperature", "0.7", "--top-p", "0.8")
    words = ("--max-new-tokens", "60", "--min-words", "5", "--max-words", "30", "--max-redraws", "3")
    images = ("--images", "2", "--size", "64", "--format", "webp", "--quality", "80")
    how = ("--captions-per-unit", "16", "--error-budget", "0.1", "--lane", "high", "--seed", "9", "--name", "mine")
    spec = _plan(farm, "-c", "dog", "--captions", "48", *prompts, *words, *images, *how).spec
    assert spec.caption == CaptionSettings(
        layout=Layout.SUBJECT,
        examples_per_draw=4,
        temperature=0.7,
        top_p=0.8,
        max_new_tokens=60,
        min_words=5,
        max_words=30,
        max_redraws=3,
    )
    assert (spec.render.size, spec.render.image_format, spec.render.quality) == (64, "webp", 80)
    assert (spec.captions_per_unit, spec.error_budget, spec.lane, spec.seed, spec.name) == (16, 0.1, "high", 9, "mine")
    model = ("--renderer", "diffusers", "--model", "m/sd15", "--revision", "abc", "--family", "sd15")
    drawn = ("--render-size", "512", "--steps", "20", "--guidance", "3.5", "--sampler", "dpmpp2m")
    assert _plan(farm, "-c", "quasar", *model, *drawn).spec.render == RenderSettings(
        renderer="diffusers",
        model="m/sd15",
        revision="abc",
        family="sd15",
        render_size=512,
        steps=20,
        guidance=3.5,
        sampler="dpmpp2m",
    )


@pytest.mark.integration
def test_what_ships_by_set_mix_and_variant(farm: Any) -> None:
    model = ("--renderer", "diffusers", "--model", "m/sd15", "--family", "sd15")
    of_set = _plan(farm, "--set", "demo")
    assert (of_set.spec.origin, of_set.captions) == ("set demo (48 concepts)", 480)
    assert _plan(farm, "--mix", "paper", "--captions", "1000", *model).spec.origin.startswith("paper (")
    own = _plan(farm, "--mix", "in1k=0.7,food101=0.3", "--captions", "1000", "--templates", "c", *model)
    assert own.spec.origin.startswith("own mix (")
    variant = _plan(farm, "--variant", "IN+Places+LLM", "--captions", "50", *model)
    assert variant.spec.origin.startswith("IN+Places+LLM (")


@pytest.mark.integration
def test_templates_backgrounds_and_examples_of_ones_own(farm: Any, files: Path) -> None:
    own = ("--templates", "c=0.2, c,bg=0.8", "--backgrounds", "by.json", "--examples", "pool.csv")
    plan = _plan(farm, "-c", "dog", "-c", "owl", *own)
    assert any(prompt.endswith(("dog, a kennel =>", "owl, a barn at night =>")) for prompt in plan.prompts)
    every = _plan(farm, "-c", "dog", "--templates", "c,bg", "--backgrounds", "yards.json", "--examples", "pool.csv")
    assert every.prompts[0].endswith(("dog, a snowy yard =>", "dog, a harbor at dusk =>"))
    replaced = ("--examples", "pool.csv", "--examples-use", "replace")
    assert all("a pot of kind" in prompt for prompt in _plan(farm, "-c", "dog", *replaced).prompts)


@pytest.mark.integration
@pytest.mark.parametrize("command", [("captions", "try", "dog"), ("jobs", "submit", "-c", "dog", "--dry-run")])
def test_a_share_of_prompts_that_nothing_can_be_asked_by_is_told(farm: Any, command: tuple[str, ...]) -> None:
    done = farm.run(*command, "--templates", "c=0.5 c,bg=0.5")
    assert done.exit_code == 0, done.stderr
    assert "1 of 1 concept without backgrounds: there c takes the share of c,bg." in done.stderr
    assert "without backgrounds" not in farm.run(*command, "--templates", "c=0.5 c,rel=0.5").stderr


@pytest.mark.integration
def test_lists_of_other_concepts_are_left_out_and_told(farm: Any, files: Path) -> None:
    own = ("-c", "Dog", "--captions", "6", "--templates", "c,bg", "--backgrounds", "by.json")
    done = farm.run("jobs", "submit", *own, "--dry-run", "--json")
    assert done.exit_code == 0, done.stderr
    assert "--backgrounds by.json: 1 of 2 lists left out, for the request has no such concept: owl" in done.stderr
    assert JobPlan.from_bytes(done.stdout).prompts[0].endswith("Dog, a kennel =>")
    assert "left out" not in farm.run("jobs", "submit", *own, "-c", "owl", "--dry-run").stderr


@pytest.mark.integration
def test_captions_that_exist(farm: Any, files: Path) -> None:
    (files / "mine.txt").write_text("".join(f"a dog on rock {n}\n" for n in range(30)))
    assert farm.run("captions", "upload", "mine.txt", "--name", "rocks").exit_code == 0
    plan = _plan(farm, "--captions-file", "rocks", "--variant", "cc12m")
    assert (plan.captions, plan.spec.origin) == (30, "file 'rocks' of 30 captions")
    assert _plan(farm, "--captions-job", DONE, "--captions", "2").captions == 2
    assert _plan(farm, "--captions-job", DONE).captions == 3


@pytest.mark.integration
def test_a_plan_tells_cost_time_and_what_is_missing(farm: Any) -> None:
    done = farm.run("jobs", "submit", "-c", "dog", "--captions", "100000", "--dry-run", "--price", "2")
    assert done.exit_code == 0, done.stderr
    for part in (" hours of render workers (guess: ", "at 2 an hour", "no render worker serves collage-s", "about "):
        assert part in done.stdout, done.stdout
    assert "time  " not in done.stdout, "without a worker nobody knows"
    little = farm.run("jobs", "submit", "-c", "dog", "--captions", "10", "--dry-run").stdout
    assert "s of render workers (guess: " in little
    assert "hours" not in little


@pytest.mark.integration
def test_a_webhook_is_taken_and_never_shown(farm: Any, files: Path) -> None:
    hook = ("--webhook", "https://example.org/hook", "--webhook-secret-file", "secret")
    done = farm.run("jobs", "submit", "-c", "dog", "-q", *hook)
    assert done.exit_code == 0, done.stderr
    job = done.stdout.strip()
    kept = json.loads(farm.store.get(f"jobs/{job}/webhook.json"))
    assert kept == {"url": "https://example.org/hook", "secret": "whsec_" + "QUJD" * 8}
    shown = farm.run("jobs", "spec", job).stdout + farm.run("jobs", "show", job).stdout
    assert "example.org" not in shown
    farm.run("jobs", "cancel", job)


BAD: list[tuple[tuple[str, ...], str]] = [
    (("-c", "dog", "--set", "demo"), "--concept and --set exclude each other"),
    (("--mix", "paper", "--set", "demo"), "--set and --mix exclude each other"),
    (("--mix", "paper", "--captions-file", "x"), "--mix and --captions-file exclude each other"),
    (("--mix", "papr"), "--mix: 'papr' is neither paper nor release, nor shares of sets such as 'in1k=0.7"),
    (("--mix", "in1k=0.7,food101"), "--mix: cannot read 'food101'; write NAME=SHARE, as in 'in1k=0.7,food101=0.3'"),
    (("--mix", "in1k=lots"), "--mix: the share of 'in1k' must be a number above 0 and at most 1, not 'lots'"),
    (("--mix", "in1k=70"), "must be a number above 0 and at most 1, not '70'"),
    (("--mix", "in1k=0.5,in1k=0.5"), "--mix: 'in1k' has two shares"),
    (("--mix", ""), "--mix: '' is neither"),
    (("--mix", "in1k=0.5,food101=0.3", "--captions", "9"), "synfarm: --mix: the shares sum to 0.8, not to 1; in the"),
    (("--mix", "paper"), "--captions: say how many are to be planned; --mix has no number of its own"),
    (("--variant", "ours"), "--captions: say how many are to be planned; --variant has no number of its own"),
    (("--variant", "cc12m"), "--variant cc12m are captions of your own: add --captions-file NAME"),
    (("--variant", "imagenet"), "'imagenet' is not one of"),
    (("--mix", "paper", "--captions", "9", "--draw", "balanced"), "--draw 'balanced' needs one list or set"),
    (("-c", "dog", "--templates", "c=0.4"), "synfarm: --templates: the shares sum to 0.4, not to 1"),
    (("-c", "dog", "--templates", "c,pg=1"), "--templates: 'c,pg' is no prompt; they are c, c,bg and c,rel"),
    (("-c", "dog", "--templates", "half"), "--templates: cannot read 'half'; write NAME=SHARE, as in 'c=0.44 c,bg"),
    (("--mix", "paper", "--captions", "9", "--templates", "c"), "--templates: --mix has its own; leave them out"),
    (("--mix", "paper", "--captions", "9", "--backgrounds", "yards.json"), "--backgrounds: they go with concepts or"),
    (("--captions-job", DONE, "--examples", "pool.csv"), "--examples: they are for prompts, and captions that exist"),
    (("-c", "dog", "--backgrounds", "no.json"), "--backgrounds no.json: cannot be read: No such file or directory"),
    (("-c", "dog", "--backgrounds", "pool.csv"), "--backgrounds pool.csv: is not valid JSON"),
    (("-c", "dog", "--backgrounds", "n.json"), "--backgrounds n.json: item 2: '7': must be a valid string"),
    (("-c", "dog", "--backgrounds", "e.json"), "--backgrounds e.json: must hold backgrounds: "),
    (("-c", "dog", "--backgrounds", "d.json"), "--backgrounds d.json: 'dog': must hold backgrounds"),
    (("-c", "dig", "--backgrounds", "by.json"), "first is of 'dog'. Did you mean dig?"),
    (("-c", "sled", "--backgrounds", "by.json"), "first is of 'dog'. Add lists for them, or leave --backgrounds out."),
    (("-c", "dog", "--examples", "no.csv"), "--examples no.csv: cannot be read"),
    (("-c", "dog", "--examples-use", "replace"), "--examples-use belongs to --examples FILE"),
    (("-c", "dog", "--layout", "chat"), "'chat' is not one of"),
    (("-c", "dog", "--examples-per-draw", "0"), "--examples-per-draw: must be greater than or equal to 1"),
    (("-c", "dog", "--temperature", "9"), "--temperature: must be less than or equal to 2"),
    (("-c", "dog", "--top-p", "1"), "--top-p: must be less than 1"),
    (("-c", "dog", "--max-new-tokens", "1"), "--max-new-tokens: must be greater than or equal to 4"),
    (
        ("-c", "dog", "--min-words", "30", "--max-words", "20"),
        "synfarm: --min-words (30) must not exceed --max-words (20).",
    ),
    (("-c", "dog", "--max-redraws", "99"), "--max-redraws: must be less than or equal to 64"),
    (("-c", "dog", "--steps", "20"), "--steps belongs to --renderer diffusers"),
    (("-c", "dog", "--preset", "fast"), "--preset belongs to --renderer diffusers"),
    (("-c", "dog", "--lora-scale", "0.5"), "--lora-scale goes with --lora MODEL"),
    (("-c", "dog", "--render-size", "512"), "--render-size belongs to --renderer diffusers"),
    (("-c", "dog", "--quality", "0"), "--quality: must be greater than or equal to 1"),
    (("-c", "dog", "--format", "png"), "'png' is not one of"),
    (("-c", "dog", "--captions-per-unit", "2000"), "--captions-per-unit: must be less than or equal to 1024"),
    (("-c", "dog", "--error-budget", "2"), "--error-budget: must be less than or equal to 1"),
    (("-c", "dog", "--webhook", "example.org/hook"), "--webhook: must be http:// or https:// with a host"),
    (("-c", "dog", "--webhook", "https://u:p@example.org"), "--webhook: must be http:// or https:// with a host"),
    (("-c", "dog", "--webhook-secret-file", "secret"), "--webhook-secret-file belongs to --webhook URL"),
    (("-c", "dog", "--webhook", "https://x.org", "--webhook-secret-file", "no"), "no: No such file or directory"),
    (("-c", "dog", "--webhook", "https://x.org", "--webhook-secret-file", "e.json"), "--webhook-secret-file: must"),
    (("-c", "dog", "--price", "2"), "--price belongs to --dry-run"),
    (("-c", "dog", "--name", "a/b"), "--name: must be up to 80 letters, digits, spaces or . _ - and begin with"),
    (("-c", "dog", "--name", ""), "--name: must not be empty"),
    (("--set", "x" * 81), "--set: must have at most 80 characters, not 81"),
    (("--captions-file", "no name"), "--captions-file: must be letters, digits, - _ or single dots"),
]


@pytest.mark.parametrize(("options", "says"), BAD, ids=[" ".join(options)[:60] for options, _ in BAD])
def test_a_value_that_cannot_be_is_told_before_the_farm_is_asked(
    run: Any, files: Path, options: tuple[str, ...], says: str
) -> None:
    (files / "n.json").write_text('["a yard", 7]')
    (files / "e.json").write_text("[]")
    (files / "d.json").write_text('{"dog": "a kennel"}')
    done = run("jobs", "submit", *options, "--url", "http://127.0.0.1:1")
    assert done.exit_code == 2, done.output
    assert says in " ".join(done.stderr.replace("│", " ").split()), done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""


@pytest.mark.integration
def test_models_beside_the_one_that_draws(farm: Any) -> None:
    model = ("--renderer", "diffusers", "--model", "m/sd15", "--family", "sd15", "--preset", "fast", "--steps", "20")
    beside = ("--lora", "m/style@abc", "--lora-scale", "0.5", "--clip-score", "m/clip@1", "--nsfw-score", "checker")
    render = _plan(farm, "-c", "quasar", *model, *beside).spec.render
    assert (render.steps, render.guidance_until, render.sampler) == (20, 0.4, Sampler.DPMPP2M)
    assert render.lora == LoraRef(model="m/style", revision="abc", scale=0.5)
    assert (render.clip_score, render.nsfw_score) == (ModelRef(model="m/clip", revision="1"), ModelRef(model="checker"))


AT_THE_FARM: list[tuple[tuple[str, ...], str]] = [
    (("--set", "demmo"), "--set: There is no concept set 'demmo'. Did you mean demo?"),
    (
        ("--mix", "demo=0.5,food11=0.5", "--captions", "9"),
        "--mix: There is no concept set 'food11'. Did you mean food101",
    ),
    (("--set", "in1k", "--captions", "9"), "--set: The collage renderer cannot draw "),
    (("-c", "dog", "--templates", "c,bg"), "--templates: Template 'c,bg' needs backgrounds"),
    (("-c", "dog", "--templates", "c,bg"), "Name some in --backgrounds FILE"),
    (("-c", "dog", "--examples", "yards.json"), "--examples: line 1: the first line must name the columns"),
    (
        ("-c", "dog", "--examples", "few.csv", "--examples-use", "replace"),
        "keep ours beside yours: --examples-use extend",
    ),
    (
        ("--captions-file", "nothing"),
        "--captions-file: There is no file of captions 'nothing'. `synfarm captions files`",
    ),
    (("--captions-job", "01k" + "0" * 22 + "9", "--captions", "2"), "--captions-job: There is no job "),
    (("--captions-job", DONE, "--captions", "99"), "--captions: Job "),
    (("--captions-job", "dog"), "'dog' is no job id"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("options", "says"), AT_THE_FARM, ids=[" ".join(options)[:60] for options, _ in AT_THE_FARM])
def test_what_the_farm_refuses_is_told_as_the_command_has_it(
    farm: Any, files: Path, options: tuple[str, ...], says: str
) -> None:
    (files / "few.csv").write_text("pool,concept,second,caption\nobject,pot,,a pot on a shelf\n")
    done = farm.run("jobs", "submit", *options)
    assert done.exit_code == 2, done.output
    assert says in done.stderr, done.stderr
    assert "/v1" not in done.stderr
    assert done.stdout == ""


def test_the_choices_are_those_of_the_contract() -> None:
    def of(field: str, model: type[BaseModel] = RenderSettings) -> tuple[object, ...]:
        return get_args(model.model_fields[field].annotation)

    assert set(get_args(submit.LaneName)) == {lane.value for lane in Lane}
    assert get_args(submit.Draw) == of("concept_draw", JobRequest)
    assert get_args(drawing.Renderer) == of("renderer")
    assert get_args(drawing.Sampler) == tuple(sampler.value for sampler in Sampler)
    assert get_args(drawing.Preset) == tuple(preset.value for preset in PresetName)
    assert get_args(drawing.Format) == of("image_format")
    assert get_args(asking.VariantName) == tuple(variant.value for variant in Variant)
    assert get_args(asking.LayoutName) == tuple(layout.value for layout in Layout)
    assert get_args(asking.Use) == of("use", PoolFile)


_PARTS = {"caption": CaptionSettings, "render": RenderSettings, "webhook": Webhook}
_NO_OPTION = {
    "concepts": "a FILE, or --concept",
    "lane": "--lane, whose choices are checked before a request is made",
    "caption.template": "it has one value; --templates says more",
    "render.renderer": "--renderer, whose choices are checked before a request is made",
    "render.sampler": "--sampler, whose choices are checked before a request is made",
}


def test_every_field_of_a_request_has_an_option() -> None:
    fields = {name for name in JobRequest.model_fields if name not in _PARTS}
    fields |= {f"{part}.{name}" for part, model in _PARTS.items() for name in model.model_fields}
    assert fields - _OPTIONS.keys() == set(_NO_OPTION)
    named = inspect.signature(submit.submit).parameters.values()
    declared = [more for parameter in named for more in getattr(parameter.annotation, "__metadata__", ())]
    # An option that is not called as its parameter is declared by its first argument.
    options = {f"--{parameter.name.replace('_', '-')}" for parameter in named} | {more.default for more in declared}
    assert {_OPTIONS[field] for field in fields & _OPTIONS.keys()} <= options


@pytest.mark.parametrize(
    "text", ["c=0.44,c,bg=0.45,c,rel=0.11", "c=0.44 c,bg=0.45 c,rel=0.11", " c = 0.44; c,bg=.45;c,rel=0.11 ; "]
)
def test_shares_of_templates_are_read_one_way_only(text: str) -> None:
    assert parse_shares(text, "--templates", "x") == {"c": 0.44, "c,bg": 0.45, "c,rel": 0.11}
