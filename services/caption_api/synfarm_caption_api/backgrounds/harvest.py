"""The settings of one concept as they come in: each once, and only such as the model means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from synfarm.contracts.backgrounds import SettingRefusal
from synfarm_caption_api.backgrounds.cleaning import normal_setting
from synfarm_caption_api.backgrounds.places import head_noun, is_known_place, leading_relation

__all__ = ["Harvest"]


class Harvest:
    """Takes answers in order; the result is a function of them alone.

    A noun that is not known to name places waits until a second answer has it too: a small model writes a dog on a
    skidder once and a dog in a kennel again and again.
    """

    def __init__(self, known: Iterable[str]) -> None:
        """``known``: settings that there are already; their nouns are believed."""
        settings = tuple(known)
        self._taken = {normal_setting(setting) for setting in settings}
        self.known = len(self._taken)
        """How many there are already, the same in other words counted once."""
        self._believed = {_noun(setting) for setting in settings}
        self._waiting: dict[str, list[str]] = {}
        self._found: list[str] = []
        self._refused: Counter[SettingRefusal] = Counter()

    @property
    def settings(self) -> Sequence[str]:
        """New ones, in the order in which they were admitted."""
        return self._found

    @property
    def refused(self) -> dict[SettingRefusal, int]:
        """How many items are no new setting, by reason; those that still wait are ``unsure``."""
        unsure = sum(map(len, self._waiting.values()))
        counts = self._refused + Counter({SettingRefusal.UNSURE: unsure})
        return dict(sorted(counts.items()))

    def take(self, answer: Iterable[str | SettingRefusal]) -> None:
        """The items of one answer, as :func:`~synfarm_caption_api.backgrounds.cleaning.read_setting` reads them."""
        waited = frozenset(self._waiting)
        for item in answer:
            if isinstance(item, SettingRefusal):
                self._refused[item] += 1
                continue
            normal, noun = normal_setting(item), _noun(item)
            if normal in self._taken:
                self._refused[SettingRefusal.DUPLICATE] += 1
                if noun in waited:
                    self._believe(noun)
                continue
            self._taken.add(normal)
            if noun in self._believed or is_known_place(_place(item)):
                self._found.append(item)
                continue
            self._waiting.setdefault(noun, []).append(item)
            if noun in waited:
                self._believe(noun)

    def _believe(self, noun: str) -> None:
        self._found += self._waiting.pop(noun, [])
        self._believed.add(noun)


def _place(setting: str) -> str:
    return leading_relation(setting)[1]


def _noun(setting: str) -> str:
    return head_noun(_place(setting))
