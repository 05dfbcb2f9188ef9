"""A user's own examples: both formats, what they replace, and errors that name their line."""

from __future__ import annotations

import json

import pytest

from synfarm.contracts.origins import PoolFile
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.recipes import PoolExample
from synfarm_caption_api.prompts.pool_file import join_pools, read_pool_file
from synfarm_caption_api.prompts.pools import load_pools

HEAD = "pool,concept,second,caption\n"
ROWS = [f"object,thing {i},,a thing {i} on a table" for i in range(5)]


def test_csv_and_jsonl_say_the_same() -> None:
    csv = PoolFile(text='\ufeffcaption,pool,second,concept\n"a dog,  at night",background,a park ,dog\n\n')
    fields = {"pool": "background", "concept": "dog", "second": "a park", "caption": "a dog, at night"}
    jsonl = PoolFile(format="jsonl", text="\n" + json.dumps(fields) + "\r\n")
    row = PoolExample(id="own-1", pool="background", concept="dog", second="a park", caption="a dog, at night")
    assert read_pool_file(csv) == read_pool_file(jsonl) == [row]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: the first line must name"),
        ("pool,concept,caption\n", "line 1: the first line must name"),
        (HEAD, "line 1: no example"),
        (HEAD + ROWS[0] + "\nobject,dog,a dog, wet\nx", "line 3: second is set for the pools"),
        (HEAD + ROWS[0] + "\nobject,dog,,a dog, wet", "line 3: 5 fields instead of 4"),
        (HEAD + ROWS[0] + "\n\n" + ROWS[0], "line 4: line 2 has the same caption"),
        (HEAD + "animal,dog,,a dog", "line 2: pool must be 'object'"),
        (HEAD + "object,,,a dog", "line 2: concept is empty"),
        (HEAD + "relation,dog,,a dog", "line 2: second is set for"),
        (HEAD + "object,dog,,a dog => a cat", "line 2: caption must not hold '=>'"),
        (HEAD + 'object,dog,,"a dog', "line 2: no CSV"),
    ],
)
def test_a_bad_line_of_csv_is_named(text: str, told: str) -> None:
    with pytest.raises(ProblemError) as raised:
        read_pool_file(PoolFile(text=text or "\n"))
    assert raised.value.problem.detail is not None
    assert told in raised.value.problem.detail
    assert (raised.value.problem.field, raised.value.problem.status) == ("examples.text", 422)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: no JSON"),
        ("[]", "line 2: it must be an object"),
        ('{"pool": "object", "concept": "dog"}', "line 2: it must be an object"),
        ('{"pool": "object", "concept": "dog", "caption": 1}', "line 2: caption must be a text"),
    ],
)
def test_a_bad_line_of_jsonl_is_named(line: str, told: str) -> None:
    good = '{"pool": "object", "concept": "dog", "caption": "a dog in a park"}'
    with pytest.raises(ProblemError, match="line") as raised:
        read_pool_file(PoolFile(format="jsonl", text=f"{good}\n{line}"))
    assert told in str(raised.value.problem.detail)


def test_a_file_extends_its_pools_or_replaces_them_and_leaves_the_others() -> None:
    ours, text = load_pools(), HEAD + "\n".join(ROWS)
    extended = join_pools(ours, PoolFile(text=text))
    assert [row.id for row in extended.of("object")][52:] == ["own-1", "own-2", "own-3", "own-4", "own-5"]
    assert extended.of("object")[:52] == ours.of("object")
    replaced = join_pools(ours, PoolFile(text=text, use="replace"))
    assert [row.id for row in replaced.of("object")] == ["own-1", "own-2", "own-3", "own-4", "own-5"]
    assert replaced.of("place") == ours.of("place")
    assert join_pools(ours, None) == ours


def test_a_pool_must_have_one_example_to_spare() -> None:
    with pytest.raises(ProblemError) as raised:
        join_pools(load_pools(), PoolFile(text=HEAD + "\n".join(ROWS[:3]), use="replace"))
    assert raised.value.problem.code == "pool_too_small"
