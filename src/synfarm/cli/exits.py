"""How a command ends: exit codes that scripts can rely on, and every foreseen error as one sentence."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EXIT_CODES", "CommandFailed", "ExitCode", "explain"]


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    """The job, the run or the demo itself failed, a service gave up, or `verify` found something."""
    REFUSED = 2
    """The command line, a file or the request must be corrected."""
    UNREACHABLE = 3
    """No farm, or no answer from it."""
    NOT_FOUND = 4
    NOT_ALLOWED = 5
    INTERRUPTED = 130
    """As shells tell of Ctrl-C."""
    READER_GONE = 141
    """As shells tell of a writer whose pipe was closed."""


EXIT_CODES = (
    "Exit codes: 0 done · 1 the job, run or demo failed, or verify found something · "
    "2 the command or the request was refused · 3 no farm, or no answer · 4 no such job, run or sample · "
    "5 the key is missing, unknown or not entitled · 130 interrupted · 141 the reader of the output went away"
)
"""For the end of `--help`."""


class CommandFailed(Exception):
    """A command ends here: one clear sentence for stderr, and the exit code."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


def explain(error: Exception) -> CommandFailed | None:
    """What to tell the user of an error that was to be expected; None for any other, which is a bug of ours."""
    if isinstance(error, CommandFailed):
        return error
    # Imported only now: a command that ends well need not load what it did not use.
    from synfarm.local.folder import FolderDamaged, FolderInUse
    from synfarm.local.ports import PortTaken
    from synfarm.local.process import ServiceGaveUp
    from synfarm.local.servers import ServerFailed
    from synfarm.local.stack import MissingPackages
    from synfarm.sdk import ApiError, ApiUnreachable, NotAllowed, NotFound, Refused

    codes: dict[type[Exception], ExitCode] = {
        FolderInUse: ExitCode.REFUSED,
        FolderDamaged: ExitCode.FAILED,
        PortTaken: ExitCode.REFUSED,
        MissingPackages: ExitCode.REFUSED,
        ServerFailed: ExitCode.FAILED,
        ServiceGaveUp: ExitCode.FAILED,
        ApiUnreachable: ExitCode.UNREACHABLE,
        NotAllowed: ExitCode.NOT_ALLOWED,
        NotFound: ExitCode.NOT_FOUND,
        Refused: ExitCode.REFUSED,
    }
    for kind, code in codes.items():
        if isinstance(error, kind):
            return CommandFailed(str(error), code)
    if isinstance(error, ApiError):
        away = error.status in {502, 503, 504}
        return CommandFailed(str(error), ExitCode.UNREACHABLE if away else ExitCode.FAILED)
    if isinstance(error, OSError):
        what = error.strerror or str(error) or type(error).__name__
        return CommandFailed(f"cannot use {error.filename}: {what}." if error.filename else f"{what}.")
    if isinstance(error, ValueError):
        # Only where one fell: it loads pydantic.
        from synfarm.starting import refused_settings

        told = refused_settings(error)
        return None if told is None else CommandFailed(f"{told}.", ExitCode.REFUSED)
    return None
