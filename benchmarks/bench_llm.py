"""Sixteen concurrent requests against the same sixteen in turn, through the engine over the real SmolLM2.

Run: ``python benchmarks/bench_llm.py``. Prompts of 60 to 100 tokens, 30 new tokens each; best of the rounds.
"""

from __future__ import annotations

import argparse
import queue
import sys
import time

import torch

from synfarm_llm_server.engine.loop import Engine, EngineLimits
from synfarm_llm_server.engine.request import Generation, Sampling
from synfarm_llm_server.model.loading import LoadedModel, load_model
from synfarm_llm_server.settings import LlmSettings

_EXAMPLES = (
    "Write a short caption of a photo for each word.\n"
    "lighthouse => a white lighthouse on a rocky coast while waves break in the evening light\n"
    "goldfish => a round bowl with two goldfish on a wooden table beside the window\n"
    "tractor => an old red tractor parked behind a barn after the rain\n"
)
_WORDS = [
    *("dog", "cat", "horse", "cow", "sheep", "bear", "fox", "owl"),
    *("duck", "swan", "apple", "banana", "bicycle", "train", "boat", "castle"),
]


def _run(engine: Engine, model: LoadedModel, words: list[str], *, together: bool, base: int) -> float:
    """Seconds for one caption a word."""
    began = time.perf_counter()
    inbox: queue.Queue[object] = queue.Queue()
    for i, word in enumerate(words):
        prompt = tuple(model.tokenizer.encode(f"{_EXAMPLES}{word} =>").ids)
        sampling = Sampling(seed=base + i, sample=True, temperature=0.8, top_p=0.95)

        def emit(event: object) -> None:
            if isinstance(event, Exception) or getattr(event, "finish", None):
                inbox.put(event)

        engine.submit(Generation(prompt, 30, sampling, emit))
        if not together:
            inbox.get()
    if together:
        for _ in words:
            inbox.get()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--prefix-tokens", type=int, default=0, help="0: every prompt is read whole, as a fair ratio needs"
    )
    chosen = parser.parse_args()
    model = load_model(LlmSettings())
    engine = Engine(model, EngineLimits(24, 512, 1024, chosen.prefix_tokens), lambda error: sys.exit(str(error)))
    engine.start()
    _run(engine, model, _WORDS[:2], together=True, base=0)
    turn = min(_run(engine, model, _WORDS[:16], together=False, base=100) for _ in range(chosen.rounds))
    both = min(_run(engine, model, _WORDS[:16], together=True, base=100) for _ in range(chosen.rounds))
    engine.stop()
    sys.stdout.write(
        f"threads {torch.get_num_threads()}, prefix cache {chosen.prefix_tokens}\n"
        f"16 in turn      {turn:6.2f} s  {480 / turn:6.1f} tok/s\n"
        f"16 concurrent   {both:6.2f} s  {480 / both:6.1f} tok/s\n"
        f"ratio           {both / turn:6.2f}  (target: at most 0.50)\n"
    )


if __name__ == "__main__":
    main()
