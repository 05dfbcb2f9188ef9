"""The engine: shared passes, rows that join and leave, independence of neighbours, failure."""

from __future__ import annotations

import time

import pytest
import torch

from synfarm_llm_server.engine.loop import EngineFailed


def test_concurrent_rows_share_passes(bench) -> None:
    b = bench()
    tickets = [b.put(f"prompt {i:02d}", 20, seed=i, sample=True) for i in range(16)]
    b.engine.start()
    assert all(len(t.ids()) == 20 for t in tickets)
    assert b.engine.passes <= 24


def test_greedy_tokens_are_those_of_transformers(bench, tiny) -> None:
    b = bench(prefill_tokens=7)
    tickets = {text: b.put(text, 15) for text in ("a", "a cat sat on a mat", "dogs and so on, at length")}
    b.engine.start()
    for text, ticket in tickets.items():
        ids = torch.tensor([tiny.tokenizer.encode(text).ids])
        whole = tiny.network.generate(ids, max_new_tokens=15, do_sample=False, eos_token_id=None, pad_token_id=256)
        assert ticket.ids() == whole[0, ids.shape[1] :].tolist()


def test_a_row_does_not_depend_on_its_neighbours(bench) -> None:
    asked = [("one", 9, 1.0, None), ("two is longer", 17, 1.5, 0.7), ("three", 5, 0.8, 0.95), ("four", 13, 2.0, None)]

    def put(b, i):
        text, new, temperature, top_p = asked[i]
        return b.put(text, new, seed=i, sample=True, temperature=temperature, top_p=top_p)

    alone = []
    for i in range(len(asked)):
        b = bench()
        b.engine.start()
        alone.append(put(b, i).ids())
    together = bench(rows=3, prefix_tokens=500)
    tickets = [put(together, i % 4) for i in (0, 1, 2, 3, 3, 2, 1, 0)]
    together.engine.start()
    got = [t.ids() for t in tickets]
    assert got == [alone[i] for i in (0, 1, 2, 3, 3, 2, 1, 0)]


def test_seeds_differ_and_repeat(bench) -> None:
    b = bench()
    b.engine.start()
    first, again, other = (b.put("x", 20, seed=s, sample=True).ids() for s in (1, 1, 2))
    assert first == again != other


def test_cancelled_row_leaves(bench) -> None:
    b = bench(rows=1)
    b.engine.start()
    long = b.put("x", 240)
    long.events.get(timeout=10)
    long.order.cancel()
    assert len(b.put("y", 3).ids()) == 3
    deadline = time.monotonic() + 10
    while b.engine.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert b.engine.running == 0
    assert long.events.qsize() < 238


def test_shared_beginning_is_read_once(bench) -> None:
    b = bench(prefix_tokens=500)
    b.engine.start()
    beginning = "the same beginning of many prompts "
    plain = bench()
    plain.engine.start()
    for end in ("one", "two"):
        assert b.put(beginning + end).ids() == plain.put(beginning + end).ids()
    assert b.engine.prefix_hit_tokens >= len(beginning)


def test_prompt_log_probabilities(bench, tiny) -> None:
    b = bench(prefill_tokens=4)
    b.engine.start()
    tokens = b.put("hello you", 1, prefill=True).result()[-1].finish.prefill
    ids = torch.tensor([tiny.tokenizer.encode("hello you").ids])
    with torch.inference_mode():
        wanted = torch.log_softmax(tiny.network(ids).logits[0], -1)[range(8), ids[0, 1:]]
    assert tokens[0].logprob is None
    assert [t.logprob for t in tokens[1:]] == pytest.approx(wanted.tolist())


def test_failure_reaches_every_requester(bench, monkeypatch) -> None:
    b = bench(rows=2)
    tickets = [b.put("x", 5) for _ in range(4)]
    monkeypatch.setattr(b.engine, "_write_step", lambda: 1 / 0)
    b.engine.start()
    for ticket in tickets:
        with pytest.raises(EngineFailed, match="ZeroDivisionError"):
            ticket.result()
    with pytest.raises(EngineFailed):
        b.put("y")
    assert len(b.failures) == 1
