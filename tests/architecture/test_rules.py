"""Rules that no linter of ours knows: no pickle in any disguise, JSON alone in messages, no global seeds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(p for folder in ("src", "services") for p in (ROOT / folder).rglob("*.py"))

PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
ARRAY_FILES = {"np.load", "numpy.load", "np.save", "numpy.save"}
CODE_FROM_TEXT = {"eval", "exec", "yaml.load", "yaml.full_load", "yaml.unsafe_load"}
GLOBAL_SEEDS = {"random.seed", "np.random.seed", "numpy.random.seed"}


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of an attribute chain, '' for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def breaches(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        for name in names:
            if name.partition(".")[0] in PICKLES:
                yield f"line {line}: imports {name}"
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        keywords = {k.arg: k.value for k in node.keywords}
        if called == "torch.load" and not _is(keywords.get("weights_only"), True):
            yield f"line {line}: torch.load without weights_only=True unpickles"
        if called == "torch.save":
            yield f"line {line}: torch.save pickles; use safetensors"
        if called in ARRAY_FILES and not _is(keywords.get("allow_pickle", ast.Constant(False)), False):
            yield f"line {line}: {called} with allow_pickle"
        if called.rpartition(".")[2] == "from_pretrained" and _is(keywords.get("use_safetensors"), False):
            yield f"line {line}: from_pretrained of pickled weights"
        if called in CODE_FROM_TEXT:
            yield f"line {line}: {called} runs what it reads"
        if called in GLOBAL_SEEDS:
            yield f"line {line}: {called} seeds a global generator"


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_pickle(path: Path) -> None:
    assert list(breaches(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=False)",
        "torch.save(x, f)",
        "np.load(f, allow_pickle=True)",
        "pipe.from_pretrained(x, use_safetensors=False)",
        "random.seed(1)",
        "eval(text)",
        "yaml.load(text)",
    ],
)
def test_the_rule_sees_a_breach(source: str) -> None:
    assert list(breaches(source))


def test_celery_speaks_json_alone() -> None:
    from synfarm.queue.app import make_app
    from synfarm.settings import RedisSettings

    conf = make_app(RedisSettings()).conf
    assert conf.accept_content == ["json"]
    assert conf.task_serializer == conf.result_serializer == "json"
    assert conf.event_serializer == "json"
