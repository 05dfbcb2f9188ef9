"""How many answers a second and core the whole gate judges: clean, refuse, compare within the unit, score.

Run: ``python benchmarks/bench_gate.py``. Processor time, best of the rounds; answers as a small model gives them, over
a concept list as long as the paper's, so that nothing kept for a concept helps the next caption.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from synfarm.contracts.concepts import Concept
from synfarm.contracts.jobs import CaptionSettings
from synfarm_caption_api import gate
from synfarm_caption_api.prompts.pools import load_pools

_SIZES = ("small", "large", "tiny", "old", "bright", "dark", "round", "long", "wooden", "shiny")
_COLOURS = ("red", "blue", "green", "white", "black", "orange", "purple", "grey", "yellow", "brown")
_PLACES = (
    *("on a beach", "in a forest", "in the snow", "on a table", "under a tree", "in a city", "in a room", "on a hill"),
    *("next to a lamp", "behind a fence", "above a river", "in front of a house", "near a window", "in the desert"),
)
_TAILS = ("", " at night", " with a small bird", " and two blue boxes", " under a cloudy sky", ", seen from above")


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    concept: Concept
    examples: tuple[str, ...]


def _answers(count: int, concepts: int, seed: int) -> list[_Answer]:
    """Seven of ten keep to their concept, the others drift, repeat themselves or talk of the task."""
    choose = random.Random(seed)
    names = [Concept(name=f"{a}{b}{i}", synonyms=(f"other {a}{i}",)) for i, (a, b) in _names(concepts)]
    shown = [row.caption for row in load_pools().of("object")]
    made = []
    for _ in range(count):
        concept, kind = choose.choice(names), choose.random()
        thing = concept.name if kind < 0.7 else "strange creature"
        text = f"a {choose.choice(_SIZES)} {choose.choice(_COLOURS)} {thing} {choose.choice(_PLACES)}"
        text += choose.choice(_TAILS)
        if kind > 0.95:
            text = f"This sentence describes {text} {text} in one sentence, and {text}"
        made.append(_Answer(f" {text}\n", concept, tuple(choose.sample(shown, 3))))
    return made


def _names(count: int) -> enumerate[tuple[str, str]]:
    pairs = [(a, b) for a in ("bram", "cell", "dral", "fent", "gorm") for b in ("ock", "ine", "ander", "ule", "ish")]
    return enumerate(pairs[i % len(pairs)] for i in range(count))


def _judge(answers: Sequence[_Answer], unit: int, settings: CaptionSettings) -> Counter[str]:
    verdicts: Counter[str] = Counter()
    for start in range(0, len(answers), unit):
        kept = gate.KeptCaptions()
        for answer in answers[start : start + unit]:
            caption = gate.clean(answer.text, settings, truncated=False)
            reason = gate.refuse(caption, answer.concept, answer.examples, settings)
            if reason is None and caption is not None:
                reason = kept.admit(caption, answer.concept)
                if reason is None:
                    gate.scores(caption, answer.concept, None, None)
            verdicts[reason.value if reason else "kept"] += 1
    return verdicts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=20_000)
    parser.add_argument("--concepts", type=int, default=14_000)
    parser.add_argument("--unit", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    settings, best, verdicts = CaptionSettings(), float("inf"), Counter[str]()
    for round_ in range(chosen.rounds):
        answers = _answers(chosen.answers, chosen.concepts, seed=round_)
        began = time.process_time()
        verdicts = _judge(answers, chosen.unit, settings)
        best = min(best, time.process_time() - began)
    told = ", ".join(f"{name} {count / chosen.answers:.1%}" for name, count in verdicts.most_common())
    sys.stdout.write(
        f"{chosen.answers} answers over {chosen.concepts} concepts, units of {chosen.unit}: {told}\n"
        f"{1e6 * best / chosen.answers:.1f} us an answer, {chosen.answers / best:,.0f} answers/s and core"
        "  (target: at least 20,000)\n"
    )


if __name__ == "__main__":
    main()
