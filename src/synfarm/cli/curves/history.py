"""A run's curves as a terminal shows them: a few hundred points, however many steps the run has taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synfarm.contracts.runs import StepMetrics
    from synfarm.contracts.views import RunView
    from synfarm.sdk import Client

__all__ = ["RunHistory"]

_WHOLE = 2_000
"""Steps that are read one by one; of more, pieces are."""
_PIECES, _OF_A_PIECE = 100, 5
_MOST_POINTS = 2_000

Point = tuple[float, float]


class RunHistory:
    """Reads on at each :meth:`refresh`; forgets what a later start of the run goes back behind."""

    def __init__(self) -> None:
        self.losses: dict[str, list[Point]] = {}
        """(step, value) by term."""
        self.speed: list[Point] = []
        """Images a second."""
        self._last = 0
        self._attempt: int | None = None

    def refresh(self, client: Client, view: RunView) -> None:
        if self._attempt is not None and view.attempt != self._attempt:
            self._cut(view.resumed_step or 0)
        self._attempt = view.attempt
        begin, ahead = self._last, view.step - self._last
        if ahead > _WHOLE:
            for piece in range(_PIECES):
                since = begin + ahead * piece // _PIECES
                self._take(client.runs.metrics(view.run, since, limit=_OF_A_PIECE).items)
            self._last = max(self._last, view.step - _OF_A_PIECE)
        while True:
            page = client.runs.metrics(view.run, self._last, limit=_WHOLE)
            self._take(page.items)
            if len(page.items) < _WHOLE:
                return

    def _take(self, items: Iterable[StepMetrics]) -> None:
        for item in items:
            if item.step <= self._last:
                continue
            self._last = item.step
            for name, value in item.losses.items():
                self.losses.setdefault(name, []).append((item.step, value))
            self.speed.append((item.step, item.images_per_second))
        for line in (self.speed, *self.losses.values()):
            while len(line) > _MOST_POINTS:
                line[:] = _halved(line)

    def _cut(self, step: int) -> None:
        self._last = min(self._last, step)
        for line in (self.speed, *self.losses.values()):
            line[:] = [point for point in line if point[0] <= step]


def _halved(line: list[Point]) -> list[Point]:
    """Each two neighbours become their mean; the newest point of an odd number stays as it is."""
    pairs = zip(line[::2], line[1::2], strict=False)
    merged = [((x + a) / 2, (y + b) / 2) for (x, y), (a, b) in pairs]
    return [*merged, *line[len(merged) * 2 :]]
