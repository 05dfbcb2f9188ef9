"""Other people's words where characters can act: one place that makes them harmless for terminals, logs and pages."""

from __future__ import annotations

import re

__all__ = ["escaped", "visible"]

# What acts, and is no letter of any language: C0 but for tab and line feed, DEL, C1 (U+009B begins a command as ESC [
# does: ECMA-48, 5.3), Unicode's own line ends, what turns the direction of writing round (Unicode Annex 9, table 4),
# and what UTF-8 cannot hold or Unicode gives no meaning: lone surrogates of file names, noncharacters.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def visible(text: str) -> str:
    """The text with a sign (U+FFFD, one column wide) for each character that would act; CRLF is a line's end."""
    return _ACTING.sub("\ufffd", text.replace("\r\n", "\n"))


def escaped(text: str) -> str:
    r"""The text with ``\u001b`` and its like for what would act: inside JSON's strings that is the same value."""
    return _ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
