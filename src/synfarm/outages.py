"""What a process tells of a part that is away: a few words of ours to whoever asks, what was said to the log."""

from __future__ import annotations

from synfarm.storage.protocol import StoreRefused
from synfarm.telemetry import get_logger

__all__ = ["AWAY", "REFUSES", "Outages"]

_log = get_logger(__name__)

AWAY, REFUSES = "does not answer", "refuses this process"


class Outages:
    """``/readyz`` and ``/healthz`` need no key: an error's own text has addresses in it, and goes to the log alone.

    It is logged when it changes, for anybody may ask as often as they like.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def away(self, part: str, error: BaseException, *, refuses: bool = False) -> str:
        """A part gave this error; the words for it.

        Args:
            refuses: it answers, and waiting does not help; of the store's errors it is known.
        """
        words = REFUSES if refuses or isinstance(error, StoreRefused) else AWAY
        kind = f"{words}: {type(error).__name__}"
        if self._known.get(part) != kind:
            self._known[part] = kind
            _log.warning("part_away", part=part, told=words, error=f"{type(error).__name__}: {error}")
        return words

    def well(self, part: str) -> None:
        """A part answered."""
        if self._known.pop(part, None) is not None:
            _log.info("part_back", part=part)
