"""Every mistake a user can make with the command: one sentence, an exit code that means it, never a traceback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from synfarm.cli import concept_source
from synfarm.cli.upload_names import name_of_a_set
from synfarm.concepts import set_names
from synfarm.local.folder import StackFolder

JOB, NOBODYS = "01k" + "0" * 22 + "1", "01k" + "0" * 22 + "9"


def told(done: Any, code: int, *parts: str) -> None:
    """The command ended with ``code`` and one sentence on stderr that holds ``parts``; stdout is empty."""
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    for part in parts:
        assert part in done.stderr, done.stderr
    assert done.stdout == ""


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [("jobs", "list"), ("runs", "list"), ("workers",), ("status",), ("samples", JOB)])
def test_no_farm_says_where_it_looked_and_what_to_do(run: Any, nowhere: Path, command: tuple[str, ...]) -> None:
    told(
        run(*command), 3, "no farm found", "SYNFARM_API_URL", f"{nowhere}/synfarm-data", f"{nowhere}/demo", "synfarm up"
    )


@pytest.mark.parametrize("command", [("status",), ("down",), ("logs",), ("jobs", "list"), ("up",), ("demo",)])
def test_a_folder_of_something_else_is_left_alone(run: Any, nowhere: Path, command: tuple[str, ...]) -> None:
    (nowhere / "thesis").mkdir()
    (nowhere / "thesis" / "thesis.tex").touch()
    done = run(*command, "--data-dir", "thesis")
    starts = command[0] in {"up", "demo"}
    assert done.exit_code == (2 if starts else 3)
    assert ("holds files that are not a stack's" if starts else "holds no stack's files") in done.stderr
    assert "Traceback" not in done.output
    assert [path.name for path in (nowhere / "thesis").iterdir()] == ["thesis.tex"]


def test_a_folder_in_use(run: Any, nowhere: Path) -> None:
    with StackFolder(nowhere / "demo") as folder:
        for command in (
            ("demo",),
            ("demo", "--fresh"),
            ("up", "--data-dir", "demo"),
            ("up", "-d", "--data-dir", "demo"),
        ):
            done = run(*command)
            assert done.exit_code == 2
            assert f"in use by another stack (process {folder.lock_file.read_text()})" in done.stderr
            assert f"synfarm down --data-dir {folder.root}" in done.stderr
        told(run("jobs", "list"), 3, "is not ready yet")


@pytest.mark.parametrize("command", ["up", "demo"])
@pytest.mark.parametrize("place", ["/dev/null/farm", "/proc/farm"])
def test_a_folder_that_cannot_be_written(run: Any, nowhere: Path, command: str, place: str) -> None:
    done = run(command, "--data-dir", place)
    assert done.exit_code == 1
    assert "synfarm: cannot use /" in done.stderr
    assert "Traceback" not in done.output


def test_more_than_one_stack_nearby(run: Any, nowhere: Path) -> None:
    with StackFolder(nowhere / "demo"), StackFolder(nowhere / "synfarm-data"):
        told(run("jobs", "list"), 2, "say which with --data-dir")


def test_a_damaged_folder(run: Any, nowhere: Path) -> None:
    folder = nowhere / "demo"
    with StackFolder(folder):
        (folder / "secrets.json").write_text("{")
    for command in (("demo", "--data-dir", "demo"), ("up", "--data-dir", "demo")):
        done = run(*command)
        assert done.exit_code == 1, done.output
        assert "secrets.json is damaged: remove it" in done.stderr


class _Foreign(BaseHTTPRequestHandler):
    """A server that is not ours: a page for every path that holds `jobs`, 404 for any other."""

    def do_GET(self) -> None:
        self.send_response(200 if "jobs" in self.path else 404)
        self.end_headers()
        self.wfile.write(b"<html>hello")

    def log_message(self, format: str, *_: object) -> None: ...


@pytest.fixture
def foreign() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Foreign)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_server_than_ours(run: Any, foreign: str) -> None:
    told(run("jobs", "list", "--url", foreign), 3, "does not speak this version's language", "that of --url")
    told(
        run("workers", "--url", foreign), 3, "answered 404", "Check that the address is that of a synfarm API", "--url"
    )


def test_nothing_answers(run: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    told(run("jobs", "list", "--url", url), 3, f"no answer ([Errno 111] Connection refused) from the farm at {url}")
    told(run("jobs", "list", env={"SYNFARM_API_URL": url}), 3, "The address is that of SYNFARM_API_URL")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--url", "localhost"), "'localhost' is no address; write http://host:port"),
        (("--url", "ftp://x"), "is no address"),
        (("--trainer-url", "http://x"), "names one API; this command needs the other: --url or SYNFARM_API_URL"),
        (("--url", "http://x", "--key", "two words"), "--key: a key is one word of plain ASCII"),
        (("--url", "http://x", "--key-file", "/nowhere"), "cannot read the key: /nowhere: No such file or directory"),
        (("--url", "http://x", "--key-file", "/usr/bin/env"), "holds no key"),
    ],
)
def test_addresses_and_keys_that_cannot_be(run: Any, options: tuple[str, ...], says: str) -> None:
    told(run("jobs", "list", *options), 2, says)


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("http://u:s3cret@h:port", 2, "--url: 'http://h:port' is no address"),
        ("u:s3cret@h", 2, "--url: 'h' is no address"),
        ("http://u:s3cret@127.0.0.1:1", 3, "from the farm at http://127.0.0.1:1."),
    ],
)
def test_a_password_or_key_in_an_address_is_not_repeated(run: Any, url: str, code: int, says: str) -> None:
    done = run("jobs", "list", "--url", url, "--key", "k3ymark")
    told(done, code, says)
    assert "s3cret" not in done.stderr + done.stdout
    assert "k3ymark" not in done.stderr + done.stdout


@pytest.mark.integration
def test_keys_that_are_refused(farm: Any) -> None:
    told(farm.run("jobs", "list", "--key", "wrong"), 5, "This key is not known here", "Check the key")
    told(farm.run("jobs", "list", SYNFARM_API_KEY=""), 5, "needs a key", "No key was sent", "--key-file")
    told(farm.run("jobs", "show", JOB, "--key", farm.strangers_key), 4, "There is no job")
    told(farm.run("jobs", "cancel", JOB, "--key", farm.strangers_key), 4, "There is no job")


@pytest.mark.integration
def test_jobs_that_are_not_there(farm: Any) -> None:
    for command in ("show", "watch", "cancel", "delete"):
        told(farm.run("jobs", command, NOBODYS), 4, "There is no job", "`synfarm jobs list` shows yours.")
    for command in ("pause", "resume"):
        told(farm.run("jobs", command, "dog"), 2, "'dog' is no job id", "synfarm jobs list", "'latest'")
    told(farm.run("samples", NOBODYS), 4, "There is no job")
    told(farm.run("samples", JOB, "--concept", "unicorn"), 2, "unicorn")
    told(farm.run("redraw", "dog", "-o", "x.png"), 2, "'dog' is no caption id")
    told(farm.run("redraw", f"{JOB}-0000000099", "-o", "x.png"), 4)
    told(farm.run("redraw", f"{JOB}-0000000000", "7", "-o", "x.png"), 4, "has images 0 to 1")
    told(farm.run("report", NOBODYS, "-o", "x.html"), 4, "There is no job")
    for command in (("runs", "show"), ("runs", "watch"), ("runs", "stop")):
        told(farm.run(*command, NOBODYS), 4, "There is no run", "`synfarm runs list` shows yours.")
    for command in (("jobs", "spec"), ("jobs", "report"), ("samples",), ("report",)):
        done = farm.run(*command, NOBODYS)
        told(done, 4, "`synfarm jobs list` shows yours.")
        assert "/v1" not in done.stderr
    stranger = farm.run("jobs", "show", "latest", "--key", farm.strangers_key)
    told(stranger, 4, "there is no job yet that you may see")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (("concepts", "show", "nothing"), 4, "`synfarm concepts list` lists them."),
        (("concepts", "show", ""), 4, "There is no concept set ''. `synfarm concepts list` lists them."),
        (("concepts", "show", "../x"), 4, "There is no concept set '../x'. `synfarm concepts list`"),
        (("concepts", "delete", "."), 4, "There is no concept set '.'. `synfarm concepts list`"),
        (("captions", "files", "nothing"), 4, "There is no file of captions 'nothing'. `synfarm captions files` lists"),
        (("captions", "files", "a/b"), 2, "synfarm: 'a/b' cannot be a name; use up to 80 letters"),
        (("jobs", "list", "--cursor", "dog"), 2, "--cursor: cursor is none that this list gave. Begin again without"),
        (("jobs", "captions", JOB, "--cursor", "99"), 2, "--cursor: cursor 99 has expired"),
        (("runs", "start", NOBODYS), 4, "`synfarm jobs list` shows yours."),
        (("redraw", f"{JOB}-0000000099", "-o", "x.png"), 4, "`synfarm samples JOB` shows what there is."),
    ],
)
def test_cures_are_commands(farm: Any, command: tuple[str, ...], code: int, says: str) -> None:
    done = farm.run(*command)
    told(done, code, says)
    assert "/v1" not in done.stderr


def test_every_set_that_ships_has_a_name_that_can_be_asked_for() -> None:
    assert [name_of_a_set(name) for name in set_names()] == list(set_names())


@pytest.mark.parametrize("key", ["é x", "two words", "", "k" * 256])
def test_an_idempotency_key_that_no_header_takes(run: Any, key: str) -> None:
    done = run("jobs", "submit", "-c", "dog", "--idempotency-key", key, "--url", "http://127.0.0.1:1")
    told(done, 2, "--idempotency-key: a key is 1 to 255 printable ASCII characters without spaces.")


def test_a_word_or_a_file_is_told_which_it_is(run: Any, nowhere: Path) -> None:
    (nowhere / "my.txt").write_text("dog\n")
    (nowhere / "cat").mkdir()
    for command in (("captions", "try"), ("backgrounds", "make", "-o", "b.json")):
        told(run(*command, "dog", "my.txt"), 2, "synfarm: my.txt is a file: --file my.txt\n")
    away = ("--url", "http://127.0.0.1:1")
    told(run("captions", "try", "cat", *away), 3, "no answer")
    told(run("jobs", "submit", "polar bear"), 2, "there is no file 'polar bear'; `--concept 'polar bear'` names a")
    told(run("jobs", "submit", "-f", "my.txt", *away), 3, "no answer")
    told(run("jobs", "submit", "my.txt", "--file", "my.txt"), 2, "name one file of concepts: by FILE or by --file")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.txt", None, "missing.txt: cannot be read: No such file or directory"),
        ("folder", "folder", "folder: cannot be read: Is a directory"),
        ("empty.txt", b"", "empty.txt: is empty: write one concept a line"),
        ("blank.txt", b" \n\n", "is empty"),
        ("comments.txt", b"# nothing\n", "the list names no concept"),
        ("image.png", b"\x89PNG\r\n\x1a\n\0\0", "image.png: is no UTF-8 text (byte 0 is none)"),
        ("zeros.bin", b"dog\0cat", "holds binary data"),
        ("twice.txt", b"dog\ncat\nDog\n", "twice.txt: line 3: 'Dog' stands for 'dog' already (line 1)"),
        ("long.txt", b"x" * 100, "long.txt: line 1: name:"),
        ("broken.json", b'["dog", ', "broken.json: is not valid JSON: Expecting value: line 1 column 9"),
        ("number.json", b'["dog", 7]', "concept 2: "),
        ("twice.json", b'["dog", "Dog"]', "concept 2: 'Dog' is concept 1 already"),
        ("nothing.json", b"[]", 'must hold a JSON list of concepts, for example ["dog", "red panda"]'),
        ("other.json", b'{"images": 3}', "must hold a JSON list"),
        ("extra.json", b'[{"name": "dog", "colour": "red"}]', "concept 1: colour: "),
    ],
)
def test_concept_files_that_cannot_be_used(
    run: Any, tmp_path: Path, name: str, content: bytes | str | None, says: str
) -> None:
    file = tmp_path / name
    if isinstance(content, str):
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    # The address is never asked: the file is looked at first.
    told(run("jobs", "submit", file, "--url", "http://127.0.0.1:1"), 2, says)
    if content is not None:
        told(run("demo", "--concepts", file, "--data-dir", tmp_path / "demo"), 2, says)
        assert not (tmp_path / "demo").exists()


def test_a_concept_file_beyond_reason(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "huge.txt"
    with file.open("wb") as sparse:
        sparse.truncate(concept_source.MAX_BYTES + 1)
    told(run("jobs", "submit", file), 2, "is larger than 8 MB")


def test_concepts_given_twice_or_not_at_all(run: Any, tmp_path: Path) -> None:
    told(run("jobs", "submit"), 2, "no concepts given", "--concept dog")
    told(run("jobs", "submit", tmp_path / "x", "-c", "dog"), 2, "not both")
    told(run("jobs", "submit", "-", stdin=b""), 2, "stdin: is empty")
    told(run("captions", "try"), 2, "no concepts given", "one by one: dog 'red panda'")
    told(run("captions", "try", "dog", "dog"), 2, "synfarm: concepts: ")


@pytest.mark.integration
def test_requests_that_are_refused(farm: Any) -> None:
    told(farm.run("jobs", "submit", "-c", "appel"), 2, "'appel'", "apple", "synfarm concepts show collage")
    told(farm.run("jobs", "submit", "-c", "dog", "--model", "x/y"), 2, "--model belongs to --renderer diffusers")
    told(farm.run("jobs", "submit", "-c", "dog", "--renderer", "diffusers"), 2, "--renderer: ", "needs 'model'")
    told(farm.run("jobs", "submit", "-c", "dog", "--name", "a/b"), 2, "--name: ")
    told(farm.run("jobs", "submit", "-c", "dog", "--captions", "3000000000"), 2, "--captions: ")
    told(farm.run("jobs", "submit", "-c", "dog", "--seed", str(1 << 63)), 2, "--seed: ")
    for option in (("--size", "5"), ("--captions", "0"), ("--lane", "fast"), ("--nonsense",), ("--images", "x")):
        told(farm.run("jobs", "submit", "-c", "dog", *option), 2, option[0])


@pytest.mark.integration
def test_output_that_cannot_be_written(farm: Any, tmp_path: Path) -> None:
    done = farm.run("samples", JOB, "-o", "/dev/null/x")
    assert done.exit_code == 1
    assert "synfarm: cannot use /dev/null/x" in done.stderr
    (tmp_path / "full").symlink_to("/dev/full")
    done = farm.run("report", JOB, "-o", tmp_path / "full")
    assert done.exit_code == 1
    assert "No space left on device" in done.stderr


def test_ports_that_cannot_be_had(run: Any, nowhere: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for background in ((), ("--detach",)):
            done = run("up", "--port", port, *background)
            assert done.exit_code == 2, done.output
            assert f"port {port} on 127.0.0.1 is taken: stop what listens there, or name another" in done.stderr
    assert run("status").exit_code == 3, "nothing was left behind"
    same = run("up", "--port", "18077", "--trainer-port", "18077")
    assert same.exit_code == 2
    assert "each needs its own" in same.stderr
    assert run("up", "--port", "70000").exit_code == 2


def test_logs_of_nothing(run: Any, nowhere: Path) -> None:
    with StackFolder(nowhere / "demo") as folder:
        folder.logs.mkdir()
        (folder.logs / "redis.log").write_text("ready\n")
    told(run("logs", "radish"), 4, "no log of 'radish'", "there are: redis")
    assert run("logs").stdout == "ready\n", "of a stopped stack too"
