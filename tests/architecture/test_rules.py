"""Rules that no linter of ours knows: no pickle in any disguise, JSON alone in messages, no global seeds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "services", "scripts", "benchmarks")
SOURCES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))

PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "multiprocessing"}
"""Modules that unpickle; the last one whatever comes over its pipes, queues and managers."""
UNPICKLERS = {
    "concurrent.futures.ProcessPoolExecutor",
    "concurrent.futures.process.ProcessPoolExecutor",
    "kombu.enable_insecure_serializers",
    "kombu.serialization.enable_insecure_serializers",
    "pandas.read_pickle",
    "torch.hub.load",
    "torch.hub.load_state_dict_from_url",
    "torch.jit.load",
    "torch.package.PackageImporter",
    "torch.save",
    *(f"torch.distributed.{kind}_object" for kind in ("all_gather", "gather")),
    *(f"torch.distributed.{kind}_object_list" for kind in ("broadcast", "scatter", "send", "recv")),
}
PICKLED_FORMS = {"pickle", "application/x-python-serialize", "yaml", "application/x-yaml"}
"""Of messages, by the names that Celery and kombu give them."""
CODE_FROM_TEXT = {"eval", "exec", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"}
GLOBAL_SEEDS = {"random.seed", "numpy.random.seed"}
NO_WEIGHTS = ("Tokenizer", "TokenizerFast", "Processor", "ProcessorPil", "Config", "Scheduler")
"""Ends of the names of classes that load no weights."""


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of an attribute chain, '' for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def imported(tree: ast.AST) -> dict[str, str]:
    """Where each name that was imported comes from: ``np`` is ``numpy``."""
    found = {"np": "numpy", "pd": "pandas", "dist": "torch.distributed"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def breaches(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    origins = imported(tree)
    for node in ast.walk(tree):
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
        if isinstance(node, ast.Call):
            first, dot, rest = dotted(node.func).partition(".")
            for what in _breaches_of_call(node, origins.get(first, first) + dot + rest):
                yield f"line {line}: {what}"


def _breaches_of_call(node: ast.Call, called: str) -> Iterator[str]:
    keywords = {k.arg: k.value for k in node.keywords}
    owner, _, method = called.rpartition(".")
    if called == "torch.load" and not _is(keywords.get("weights_only"), True):
        yield "torch.load without weights_only=True unpickles"
    if called in UNPICKLERS or method in ("to_pickle", "read_pickle"):
        yield f"{called} pickles; use JSON or safetensors"
    if "allow_pickle" in keywords and not _is(keywords["allow_pickle"], False):
        yield f"{called} with allow_pickle"
    if "trust_remote_code" in keywords and not _is(keywords["trust_remote_code"], False):
        yield f"{called} with trust_remote_code runs what came with a model"
    safe = _is(keywords.get("use_safetensors"), True) or "gguf_file" in keywords or owner.endswith(NO_WEIGHTS)
    if method == "from_pretrained" and not safe:
        yield "from_pretrained without use_safetensors=True takes pickled weights where there are no others"
    for name in ("serializer", "accept_content", "content_type", "task_serializer", "result_serializer"):
        for constant in ast.walk(keywords.get(name, ast.Constant(None))):
            if isinstance(constant, ast.Constant) and constant.value in PICKLED_FORMS:
                yield f"{called} with messages as {constant.value}"
    if called in CODE_FROM_TEXT:
        yield f"{called} runs what it reads"
    if called in GLOBAL_SEEDS:
        yield f"{called} seeds a global generator"


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
        "from torch import load as read\nread(f)",
        "import torch as t\nt.load(f)",
        "from numpy import load\nload(f, allow_pickle=flag)",
        "numpy.lib.format.read_array(f, allow_pickle=True)",
        "from yaml import load\nload(text)",
        "import joblib",
        "from multiprocessing.connection import Listener",
        "from concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor()",
        "import torch.distributed as dist\ndist.all_gather_object(found, mine)",
        "from torch import distributed\ndistributed.broadcast_object_list(found)",
        "AutoModel.from_pretrained(folder)",
        "AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=True)",
        "torch.hub.load_state_dict_from_url(url)",
        "frame.to_pickle(f)",
        "app.send_task(name, serializer='pickle')",
        "Celery(accept_content=['json', 'application/x-python-serialize'])",
        "kombu.enable_insecure_serializers()",
    ],
)
def test_the_rule_sees_a_breach(source: str) -> None:
    assert list(breaches(source))


def test_celery_speaks_json_alone() -> None:
    from kombu.exceptions import ContentDisallowed
    from kombu.serialization import loads, prepare_accept_content

    from synfarm.queue.app import make_app
    from synfarm.settings import RedisSettings

    conf = make_app(RedisSettings()).conf
    assert conf.accept_content == ["json"]
    assert conf.task_serializer == conf.result_serializer == "json"
    assert conf.event_serializer == "json"
    assert conf.result_accept_content in (None, ["json"])
    for form in ("application/x-python-serialize", "application/x-yaml", "text/plain"):
        with pytest.raises(ContentDisallowed):
            loads(b"cos\nsystem\n(S'true'\ntR.", form, "binary", accept=prepare_accept_content(conf.accept_content))


def test_the_rule_lets_through_what_loads_no_code() -> None:
    plain = (
        "import torch\ntorch.load(f, weights_only=True)\n"
        "np.load(f, allow_pickle=False)\nnp.load(f)\n"
        "AutoModel.from_pretrained(x, use_safetensors=True)\nAutoTokenizer.from_pretrained(x)\n"
        "yaml.safe_load(text)\njson.load(f)\n"
        "from safetensors.torch import load\nload(data)\n"
        "store.put(key, data, content_type='application/x-tar')\n"
    )
    assert list(breaches(plain)) == []
