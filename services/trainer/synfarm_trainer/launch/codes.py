"""The exit codes of a start of a run: one number for each reason, so that a scheduler can tell them apart.

Values of 64 to 78 are those of BSD's ``sysexits.h`` where it has a fitting word; 143 is what shells say of SIGTERM.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["FINAL", "NOT_COUNTED", "ExitCode"]


class ExitCode(IntEnum):
    """Of ``python -m synfarm_trainer.launch``. Names in lower case are the reasons of exit records."""

    COMPLETED = 0
    CRASH = 1
    """An error that another start may not meet again."""
    USAGE = 2
    """The command line, as argparse ends."""
    DATA = 65
    """EX_DATAERR: the dataset is not the one that the run froze, or too much of it is damaged."""
    STOPPED = 75
    """EX_TEMPFAIL: SIGTERM came, a checkpoint was saved, the run may go on from it. Never counted as a failure."""
    CONFIG = 78
    """EX_CONFIG: the configuration cannot be run here."""
    NAN = 80
    """A loss, gradient or weight is not finite."""
    LOST_RANK = 81
    """A rank, or another machine's, was killed or cut off; the others could not go on without it."""
    FENCED = 82
    """A newer start of the run has begun."""
    TERMINATED = 143
    """SIGTERM came, and the grace period was over before rank 0 had saved. Not counted either."""

    @property
    def reason(self) -> str:
        """The word of exit records."""
        return self.name.lower()

    @classmethod
    def of(cls, reason: str) -> ExitCode:
        """
        Raises:
            KeyError: there is no such reason.
        """
        return cls[reason.upper()]


NOT_COUNTED = (ExitCode.STOPPED, ExitCode.TERMINATED)
"""What a scheduler must not count as a failure: it asked for it itself."""
FINAL = (ExitCode.USAGE, ExitCode.DATA, ExitCode.CONFIG, ExitCode.NAN)
"""What another start from the same checkpoint would end with again."""
