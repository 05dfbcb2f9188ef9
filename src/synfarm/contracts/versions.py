"""Contract versions: which ones this code reads, and what an object holds that it does not (decision 15)."""

from __future__ import annotations

from typing import get_args

from pydantic import ValidationError

from synfarm.contracts.base import Contract

__all__ = ["FIRST", "beyond", "read_versions"]

FIRST = 1
"""What everything without a version of its own is read as."""
_VERSION = "schema_version"
_CHOICES = frozenset({"literal_error", "enum", "union_tag_invalid"})


def read_versions(contract: type[Contract]) -> tuple[int, ...]:
    """The versions of a contract that this code reads, as its ``schema_version`` names them."""
    return get_args(contract.model_fields[_VERSION].annotation)


def beyond(error: ValidationError) -> str | None:
    """What of an object only a newer version knows, in words; None: it is no such object in any version.

    A newer version number, a field without a name here, a choice that is not among those here. Its writer had a
    contract for it, so that the object is whole; this process is the one that lacks something.
    """
    found = error.errors(include_url=False)
    for fault in found:
        told = fault["input"]
        if fault["loc"][-1:] == (_VERSION,) and type(told) is int and told > FIRST:
            return f"{error.title}: contract {told}"
    unexplained = {_branch(fault["loc"]) for fault in found if not _may_be_newer(fault["type"], fault["loc"])}
    for fault in found:
        branch = _branch(fault["loc"])
        if not _may_be_newer(fault["type"], fault["loc"]) or (branch and branch in unexplained):
            continue
        field = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            return f"{error.title}: a field {field!r} that this version does not know"
        return f"{error.title}: {field} {str(fault['input'])[:80]!r}, a choice that this version does not know"
    return None


def _may_be_newer(kind: str, loc: tuple[int | str, ...]) -> bool:
    # A version that is no later number is none that anybody will write.
    return kind == "extra_forbidden" or (kind in _CHOICES and loc[-1:] != (_VERSION,))


def _branch(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The way to the contract that was tried, of a place inside a union; else empty.

    pydantic tells the faults of each, under its class name: to every one the fields of the others are unknown. It is
    what was meant, in a newer version, only where nothing else is wrong with it.
    """
    ends = [place for place, part in enumerate(loc, 1) if isinstance(part, str) and part[:1].isupper()]
    return loc[: ends[-1]] if ends else ()
