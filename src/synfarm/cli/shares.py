"""Shares as a user writes them: ``in1k=0.7,food101=0.3``, and of templates, whose names hold commas themselves."""

from __future__ import annotations

import re

from synfarm.cli.exits import CommandFailed, ExitCode

__all__ = ["parse_shares"]

# A share holds no comma, so that what follows one is a separator, whatever the name before it holds.
_SHARE = re.compile(r"\s*(?P<name>[^=]*?)\s*=\s*(?P<share>[^=,;\s]+)\s*(?:[,;\s]\s*|$)")


def parse_shares(text: str, option: str, example: str) -> dict[str, float]:
    """Names with their shares; they stand between spaces, commas or semicolons.

    Raises:
        CommandFailed: it is something else; the message names the part and shows an example.
    """
    found: dict[str, float] = {}
    place = 0
    while place < len(text.rstrip()):
        match = _SHARE.match(text, place)
        if match is None or not match["name"]:
            raise _refused(option, f"cannot read {text[place:].strip()[:80]!r}; write NAME=SHARE, as in {example}")
        name, share = match["name"], match["share"]
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not 0 < value <= 1:
            raise _refused(option, f"the share of {name!r} must be a number above 0 and at most 1, not {share!r}")
        if name in found:
            raise _refused(option, f"{name!r} has two shares; leave one out")
        found[name] = value
        place = match.end()
    if not found:
        raise _refused(option, f"is empty; write NAME=SHARE, as in {example}")
    return found


def _refused(option: str, what: str) -> CommandFailed:
    return CommandFailed(f"{option}: {what}.", ExitCode.REFUSED)
