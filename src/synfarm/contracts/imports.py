"""Where the images of an imported job come from: files of a user, in place of captions that are drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from synfarm.contracts.base import Contract
from synfarm.contracts.ids import Sha256

__all__ = ["ImportRef"]


class ImportRef(Contract):
    """The files that were imported; the job has one caption group for each."""

    kind: Literal["folder", "tars"]
    where: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The folder's name, or the first tar's: for people."""
    sha256: Sha256
    """Of the list of files, their sizes, classes and texts: other files, another import."""
    files: int = Field(ge=1)
    """Images that the list names."""
