"""What must not be in an image: secrets by arguments, variables or files, and files that its process could change."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for folder in ("services", "k8s", "deploy", "scripts", "benchmarks")
    for path in (ROOT / folder).rglob("*Dockerfile*")
)
IDS = [str(path.relative_to(ROOT)) for path in FILES]
SECRET = re.compile(r"secret|token|passw|credential|private|(api|access|auth)_?key|netrc|cookie", re.IGNORECASE)
KEPT = {
    "LICENSE",
    "README.md",
    "constraints.txt",
    "pyproject.toml",
    "scripts/image_requirements.py",
    "src/synfarm/cli/app.py",
    "services/trainer/synfarm_trainer/run.py",
    "services/caption_api/synfarm_caption_api/web/static/page.css",
}
PLANTED = {
    ".env",
    ".env.example",
    ".git/config",
    ".netrc",
    ".venv/lib/x.py",
    "keys.json",
    "docker-compose.gpus.yml",
    "secrets/s3",
    "demo/redis.conf",
    "synfarm-data/keys.json",
    "build/wheel.whl",
    "k8s/overlays/laptop/secrets.env",
    "services/trainer/.env",
    "services/trainer/Dockerfile",
    "scripts/setup.sh",
    "src/other/module.py",
    # Where everything else is taken:
    "src/synfarm/.env",
    "src/synfarm/.git/config",
    "src/synfarm/keys.json",
    "src/synfarm/local/server.key",
    "src/synfarm/local/ca.pem",
    "src/synfarm/cli/.ipynb_checkpoints/x.py",
    "src/synfarm/cli/__pycache__/app.cpython-311.pyc",
    "services/trainer/synfarm_trainer/.env.local",
    "services/trainer/synfarm_trainer/secrets/token",
    "services/trainer/synfarm_trainer/client.p12",
}


def instructions(path: Path) -> list[tuple[str, str]]:
    """(word, rest) of each; continued lines are joined, comments are out."""
    lines = (line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(word.upper(), rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def test_all_are_looked_at() -> None:
    assert len(FILES) >= 4


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_no_argument_and_no_variable_carries_a_secret(path: Path) -> None:
    for word, rest in instructions(path):
        if word in ("ARG", "ENV"):
            assert not SECRET.search(rest), f"{word} {rest}: it stays in the image; take --mount=type=secret"
            assert not re.search(r"://[^/\s]*@", rest), f"{word} {rest}: an address with a password"
        assert word != "ADD", "it takes addresses and unpacks what it gets; COPY does neither"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_secret_of_the_build_is_mounted_for_the_command_that_needs_it(path: Path) -> None:
    """An index with a password would be told as an argument, and an image's history keeps those."""
    runs = [rest for word, rest in instructions(path) if word == "RUN" and "$TORCH_INDEX" in rest]
    assert all("--mount=type=secret,id=netrc,target=/root/.netrc" in run for run in runs)
    for run in runs[:1]:
        guard = re.search(r"case .*? esac;", run)
        assert guard is not None
        for index, code in (("", 0), ("https://index.example/cpu", 0), ("https://me:word@index.example/cpu", 1)):
            done = subprocess.run(["sh", "-c", guard[0]], env={"TORCH_INDEX": index}, capture_output=True, check=False)
            assert done.returncode == code
            assert b"word" not in done.stderr.replace(b"password", b"")


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_what_runs_is_root_s_and_the_process_is_not(path: Path) -> None:
    """pip and COPY leave files of root; two folders for state are the process's own."""
    found = instructions(path)
    users = [place for place, (word, _) in enumerate(found) if word == "USER"]
    assert found[users[-1]] == ("USER", "10001:10001")
    assert not [word for word, _ in found[users[0] :] if word in ("RUN", "COPY", "FROM")]
    text = "\n".join(f"{word} {rest}" for word, rest in found)
    assert not re.search(r"--chown|\bchown\b|\bchmod\b|--chmod|sudo|setcap", text)
    owned = re.findall(r"--owner=synfarm .*?(?=&&|$)", text)
    assert [one.split()[-2:] for one in owned] == [["/var/lib/synfarm", "/var/cache/synfarm"]]


def ignored(path: str, patterns: list[str]) -> bool:
    """As Docker judges (moby/patternmatcher): the last pattern counts that matches a path or a folder above it."""
    parts = path.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    found = False
    for pattern in patterns:
        plain = pattern.removeprefix("!").strip("/")
        rule = re.escape(plain).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
        rule = re.sub(r"\\\[(\w+)\\\]", r"[\1]", rule)
        if any(re.fullmatch(rule, one) for one in above):
            found = not pattern.startswith("!")
    return found


def test_what_is_sent_to_the_build_holds_no_secret_and_no_state() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert {path for path in KEPT | PLANTED if not ignored(path, patterns)} == KEPT


@pytest.mark.long
@pytest.mark.skipif(shutil.which("docker") is None, reason="needs a Docker engine")
def test_a_real_build_gets_the_same_files(tmp_path: Path) -> None:
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("needs a Docker engine")
    context = tmp_path / "context"
    for name in KEPT | PLANTED:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(name)
    shutil.copy(ROOT / ".dockerignore", context)
    subprocess.run(
        ["docker", "buildx", "build", "--output", f"type=local,dest={tmp_path / 'out'}", "--file", "-", str(context)],
        input=b"FROM scratch\nCOPY . /\n",
        check=True,
        capture_output=True,
        timeout=300,
    )
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == KEPT
