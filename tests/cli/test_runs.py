"""`synfarm runs` against the real trainer service."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from synfarm.contracts.pages import EvalTable
from synfarm.contracts.presets import PresetList, PresetView
from synfarm.contracts.runs import RunState
from synfarm.contracts.views import RunPage, RunView
from synfarm.sdk import client as sdk_client

pytestmark = pytest.mark.integration

KNN = ("10.0 % ± 1.0 (untrained", "20.0 % ± 1.0 (after step 20)", "raw pixels 25.0 % ± 2.0")
JOB, DONE, FAILED, NOBODYS = ("01k" + "0" * 22 + digit for digit in "1349")


def test_reading_commands_give_one_contract_as_json(farm: Any) -> None:
    for command, kind in (
        (("list",), RunPage),
        (("show", DONE), RunView),
        (("watch", DONE), RunView),
        (("presets",), PresetList),
        (("presets", "small", "--set", "optim.lr=0.01"), PresetView),
    ):
        done = farm.run("runs", *command, "--json")
        assert done.exit_code == 0, done.stderr
        assert done.stdout.count("\n") == 1
        kind.from_bytes(done.stdout)


def test_list_and_show_for_people(farm: Any) -> None:
    assert DONE in farm.run("runs", "list").stdout
    shown = farm.run("runs", "show", FAILED)
    for part in ("failed", "loss is not finite at step 7", "20 of 20", f"job {JOB} generation 1", "at steps 0, 20"):
        assert part in shown.stdout


def test_show_tells_what_was_learnt_and_what_to_do_next(farm: Any) -> None:
    shown = farm.run("runs", "show", DONE)
    for part in KNN:
        assert part in shown.stdout
    assert f"Next: synfarm report {JOB} --run {DONE} -o report.html" in shown.stderr


def test_presets_are_listed_and_one_is_told_in_full(farm: Any) -> None:
    listed = farm.run("runs", "presets")
    assert listed.exit_code == 0, listed.stderr
    assert "synclr-l14-paper" in listed.stdout
    told = farm.run("runs", "presets", "small", "-s", "optim.lr=0.01", "-s", "data.crops=2")
    assert told.exit_code == 0, told.stderr
    for pattern in (
        r"^optim\.lr +0\.01 +request: an override",
        r"^objective\.prototypes +1024 +ours: ",
        r"^model\.mlp_ratio +4\.0 +paper: section 4\.2",
        r"^global crops a step +512 *$",
        r"^local crops a step +1,024 *$",
        r"^masked tokens a step +8,192 *$",
        r"^peak learning rate +0\.01, as it is",
    ):
        assert re.search(pattern, told.stdout, re.MULTILINE), (pattern, told.stdout)


def test_weights_are_changed_only_where_there_are_some(farm: Any) -> None:
    done = farm.run("runs", "weights", FAILED, "0.7", "0.3")
    assert done.exit_code != 0
    assert "draws from its jobs as from one dataset" in done.stderr
    assert "Submit a new run with weights" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("tinny",), 4, "no preset 'tinny'; did you mean tiny\\? `synfarm runs presets` lists them"),
        (("tiny", "-s", "optm.lr=1"), 2, "optm.lr: no such field; did you mean optim.lr"),
        (("tiny", "-s", "augment.name=papr"), 2, "augment.name: must be one of .*; did you mean paper"),
        (("tiny", "-s", "optim.lr"), 2, "write NAME=VALUE"),
        (("-s", "optim.lr=1"), 2, "name the preset"),
    ],
)
def test_refusals_of_a_preset(farm: Any, arguments: tuple[str, ...], code: int, says: str) -> None:
    done = farm.run("runs", "presets", *arguments)
    assert done.exit_code == code, done.stderr
    assert re.search(says, done.stderr), done.stderr


def test_watch_ends_as_the_run_did(farm: Any) -> None:
    good = farm.run("runs", "watch", DONE)
    assert good.exit_code == 0
    assert good.stdout.startswith(f"run {DONE} completed: 20 steps")
    for part in KNN:
        assert part in good.stdout
    assert f"Next: synfarm report {JOB} --run {DONE} -o report.html" in good.stderr
    bad = farm.run("runs", "watch", FAILED)
    assert bad.exit_code == 1
    assert bad.stderr.endswith(f"synfarm: run {FAILED} ended failed: loss is not finite at step 7.\n")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((JOB, "--set", "data.views=2"), 2, "one batch takes 32.*--set data.captions_per_batch=8"),
        ((JOB,), 2, "has 2 images of a caption; the run takes 4.*data.views with 2 or less"),
        ((JOB, "--set", "optim.lrr=1"), 2, "did you mean optim.lr"),
        ((JOB, "--set", "optim.lr"), 2, "write NAME=VALUE"),
        ((JOB, "--preset", "huge"), 2, "preset"),
        ((JOB, "--name", "a/b"), 2, "--name: "),
        ((NOBODYS,), 4, "There is no job"),
        (("dog",), 2, "'dog' is no job id"),
        ((JOB, "--ranks", "0"), 2, "--ranks"),
        ((JOB, "--weights", "0.7,0.3"), 2, "weights has 2 numbers, jobs has 1.*one weight a job"),
        ((JOB, "--weights", "much"), 2, "weights.0: must be a valid number"),
        ((JOB, "--follow", "--set", "data.views=2", "--set", "objective.name=supce"), 2, "supce has an output"),
    ],
)
def test_refusals_of_a_start(farm: Any, arguments: tuple[str, ...], code: int, says: str) -> None:
    done = farm.run("runs", "start", *arguments)
    assert done.exit_code == code, done.stderr
    assert re.search(says, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_evals_are_a_table_over_steps(farm: Any) -> None:
    told = farm.run("runs", "evals", DONE)
    assert told.exit_code == 0, told.stderr
    for pattern in (r"^ *0 +knn +10\.0 % ± 1\.0", r"^ *20 +knn +20\.0 % ± 1\.0", r"^ *- +raw pixels +25\.0 % ± 2\.0"):
        assert re.search(pattern, told.stdout, re.MULTILINE), (pattern, told.stdout)
    assert EvalTable.from_bytes(farm.run("runs", "evals", DONE, "--json").stdout).evals["20"]["knn"]["top1"] == 0.2


def test_compare_tells_what_differs_and_what_came_of_it(farm: Any) -> None:
    told = farm.run("runs", "compare", DONE, FAILED)
    assert told.exit_code == 0, told.stderr
    for pattern in (
        rf"^run +{DONE} +{FAILED}",
        r"^state +completed +failed",
        r"^loss total, last 50 steps +2\.9500 +2\.9500",
        r"^knn, top-1 +20\.0 % ± 1\.0 \(step 20\)",
        r"^optim\.lr +0\.001 +0\.002",
        r"^loss: total +A 2 +B 2$",
    ):
        assert re.search(pattern, told.stdout, re.MULTILINE), (pattern, told.stdout)
    assert "schedule.steps" not in told.stdout, "what is the same is not shown"
    assert re.search("[\u2801-\u28ff]", told.stdout), "curves"
    answer = json.loads(farm.run("runs", "compare", DONE, FAILED, "--json").stdout)
    assert answer["differences"] == {"optim.lr": [0.001, 0.002]}
    for wrong, says in (((DONE,), "two to 6 runs"), ((DONE, DONE), "named twice")):
        refused = farm.run("runs", "compare", *wrong)
        assert refused.exit_code == 2
        assert says in refused.stderr


def test_unknown_runs(farm: Any) -> None:
    for command in ("show", "watch", "stop", "resume", "evals"):
        assert farm.run("runs", command, NOBODYS).exit_code == 4
    assert farm.run("runs", "stop", DONE).exit_code == 0, "stopping what has ended changes nothing"


def test_resume(farm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done = farm.run("runs", "resume", DONE)
    assert (done.exit_code, "nothing to resume" in done.stderr) == (2, True), done.stderr
    # What is resumed would train: the service is not asked.
    asked: list[str] = []

    def go_on(runs: sdk_client.Runs, run: str) -> RunView:
        asked.append(run)
        return runs.get(run).model_copy(update={"state": RunState.QUEUED})

    monkeypatch.setattr(sdk_client.Runs, "resume", go_on)
    assert farm.run("runs", "resume", FAILED).stdout.split() == ["run", f"{FAILED}:", "queued"]
    assert json.loads(farm.run("runs", "resume", FAILED, "--json").stdout)["state"] == "queued"
    assert farm.run("runs", "resume", FAILED, "--watch").exit_code == 1, "it is watched to its end, which was a failure"
    assert asked == [FAILED] * 3
