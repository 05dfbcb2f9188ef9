"""`synfarm captions upload` and `files`: captions of one's own from a file or stdin, and what is wrong with a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synfarm.contracts.caption_files import CaptionFile, CaptionFileList


@pytest.mark.integration
def test_a_file_is_uploaded_and_shown(farm: Any, tmp_path: Path) -> None:
    mine = tmp_path / "my captions (v2).txt"
    mine.write_text("".join(f"a dog on rock {n}\n" for n in range(10_003)))
    done = farm.run("captions", "upload", mine)
    assert (done.exit_code, done.stdout) == (0, "my-captions-v2\n"), done.stderr
    for part in ("10000 captions sent", "10003 captions sent", "synfarm jobs submit --captions-file my-captions-v2"):
        assert part in done.stderr
    view = CaptionFile.from_bytes(farm.run("captions", "files", "my-captions-v2", "--json").stdout)
    assert (view.committed, view.parts, view.lines) == (True, 2, 10_003)
    assert "10003" in farm.run("captions", "files", "my-captions-v2").stdout
    assert "my-captions-v2" in farm.run("captions", "files").stdout.splitlines()
    assert "my-captions-v2" in CaptionFileList.from_bytes(farm.run("captions", "files", "--json").stdout).items
    again = farm.run("captions", "upload", mine, "-q")
    assert again.exit_code == 2
    assert "is committed. A file never changes; choose another name" in again.stderr
    none = farm.run("captions", "files", "--key", farm.strangers_key)
    assert "synfarm captions upload FILE --name NAME" in none.stderr
    assert farm.run("captions", "files", "nothing").exit_code == 4


@pytest.mark.integration
def test_stdin_and_json_lines(farm: Any, tmp_path: Path) -> None:
    done = farm.run("captions", "upload", "-", "--name", "piped", "--json", stdin="a dog\nzwei Bären\n".encode())
    assert CaptionFile.from_bytes(done.stdout).lines == 2, done.stderr
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"text": "Two herons", "concept": "heron"}\n')
    one = farm.run("captions", "upload", lines)
    assert (one.stdout, "1 caption. Make a job of them" in one.stderr) == ("lines\n", True)
    other = farm.run("captions", "upload", lines, "--name", "told", "--text")
    assert other.exit_code == 0, "as text it is a caption too"
    bad = lines.read_bytes() + b'{"text": "a dog", "kind": "animal"}\n'
    untold = farm.run("captions", "upload", "-", "--name", "by-first-line", stdin=bad)
    assert (untold.exit_code, "line 2: kind must be" in untold.stderr) == (2, True), untold.stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (b"a dog\n\n", (), "bad.txt: line 2: is empty; leave the line out. Nothing was committed."),
        (b"", (), "bad.txt: line 1: there is no caption; write one a line."),
        (b"a dog\n\xff\n", (), "bad.txt: line 2: no UTF-8 text"),
        (b"a dog\n", ("--jsonl",), "bad.txt: line 1: Invalid JSON"),
        (b"a dog\n", ("--name", "a/b"), "--name: 'a/b' cannot be a name; use up to 80 letters, digits"),
        (None, (), "bad.txt: cannot be read: No such file or directory."),
    ],
)
def test_files_that_cannot_be_used(
    farm: Any, tmp_path: Path, content: bytes | None, options: tuple[str, ...], says: str
) -> None:
    file = tmp_path / "bad.txt"
    if content is not None:
        file.write_bytes(content)
    done = farm.run("captions", "upload", file, *options)
    assert done.exit_code == 2, done.output
    assert says in done.stderr, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.output


@pytest.mark.integration
def test_stdin_needs_a_name_and_text(farm: Any) -> None:
    strange = farm.run("captions", "upload", "мои подписи.txt")
    told = "synfarm: no name can be made of 'мои подписи.txt': give one by --name."
    assert (strange.exit_code, told in strange.stderr) == (2, True)
    unnamed = farm.run("captions", "upload", "-", stdin=b"a dog\n")
    assert (unnamed.exit_code, "--name: a file that comes by stdin needs one" in unnamed.stderr) == (2, True)
    binary = farm.run("captions", "upload", "-", "--name", "x", stdin=b"a dog\n\xff\xfe\n")
    assert (binary.exit_code, "is no UTF-8 text" in binary.stderr) == (2, True)
