"""Captions on their way to the farm: parts of a fixed number of lines, and the number of a bad line in the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from synfarm.contracts.caption_files import PART_LINES, GivenCaption
from synfarm.sdk import BadCaptionLine
from synfarm.sdk.caption_lines import parts_of


def read(parts: list[bytes]) -> list[list[GivenCaption]]:
    return [[GivenCaption.from_bytes(line) for line in part.splitlines()] for part in parts]


def test_every_part_but_the_last_is_full() -> None:
    parts = read(list(parts_of(f"a dog on rock {n}" for n in range(2 * PART_LINES + 3))))
    assert [len(part) for part in parts] == [PART_LINES, PART_LINES, 3]
    assert parts[1][0].text == f"a dog on rock {PART_LINES}"


def test_no_part_is_read_before_it_is_asked_for() -> None:
    seen: list[int] = []

    def lines() -> Iterator[str]:
        for n in range(3 * PART_LINES):
            seen.append(n)
            yield f"a dog on rock {n}"

    parts = parts_of(lines())
    next(parts)
    assert len(seen) == PART_LINES


def test_text_and_json_lines_by_the_name_of_the_file(tmp_path: Path) -> None:
    text, lines = tmp_path / "mine.txt", tmp_path / "mine.JSONL"
    text.write_bytes("\ufeffTwo  herons\r\na beach at dusk\n".encode())
    lines.write_text('{"text": "Two herons", "concept": "heron"}\n')
    assert [caption.text for caption in read(list(parts_of(text)))[0]] == ["Two herons", "a beach at dusk"]
    assert read(list(parts_of(str(lines)))) == [[GivenCaption(text="Two herons", concept="heron")]]
    assert read(list(parts_of(lines, jsonl=False)))[0][0].text.startswith('{"text"')
    assert read(list(parts_of([GivenCaption(text="an owl"), "a cat"])))[0][1].text == "a cat"


def test_json_lines_are_known_by_the_first_one(tmp_path: Path) -> None:
    line, heron = '{"text": "Two herons", "concept": "heron"}', GivenCaption(text="Two herons", concept="heron")
    file = tmp_path / "export.txt"
    file.write_bytes(f"\ufeff {line}\r\n{line}\n".encode())
    assert read(list(parts_of(file))) == [[heron, heron]]
    assert read(list(parts_of(iter([line + "\n"])))) == [[heron]]
    assert read(list(parts_of([line], jsonl=False)))[0][0].text == line
    for words in ("{a dog}", '{"a": "dog"}', '["text"]', '"text"', '{"a":' * 300):
        assert read(list(parts_of([words, line])))[0][0].text == words
    with pytest.raises(BadCaptionLine, match="line 2: Invalid JSON"):
        list(parts_of([line, "a dog"]))


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "x.txt", "line 1: there is no caption; write one a line"),
        (b"a dog\n\na cat\n", "x.txt", "line 2: is empty; leave the line out"),
        (b"a dog\n\xff\xfe\n", "x.txt", "line 2: no UTF-8 text: byte 0 is 0xff"),
        (b"a dog\n" * PART_LINES + b"a\x01b\n", "x.txt", f"line {PART_LINES + 1}: text String should match"),
        (b"a dog\n", "x.jsonl", "line 1: Invalid JSON"),
        (b'{"txt": "a dog"}\n', "x.jsonl", "line 1: text Field required"),
        (b'{"text": "a dog", "kind": "animal"}\n', "x.jsonl", "line 1: kind must be 'object', 'place' or 'texture'"),
    ],
)
def test_a_bad_line_is_told_by_its_number(tmp_path: Path, content: bytes, name: str, says: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(BadCaptionLine) as caught:
        list(parts_of(file))
    assert says in str(caught.value)
