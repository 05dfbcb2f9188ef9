"""How much the report shows, which bounds its size and its requests, and where the reader finds the data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Place", "ReportOptions"]


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """The defaults give a file of a few megabytes whatever the size of the job."""

    concepts: int = 48
    """Most concepts in the gallery."""
    captions_per_concept: int = 2
    images_per_caption: int = 4
    """Most images of a caption that are shown."""
    image_side: int = 160
    """Larger images are shrunk to it."""
    gallery_bytes: int = 4_500_000
    """Of the page, images as text included."""
    sample_pages: int = 12
    """Most pages of samples that are asked for."""
    metrics_requests: int = 24
    """Most pages of metrics; a longer run is read in as many windows spread over it."""
    concurrency: int = 4
    """Requests in flight."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the data of job and run lies, as far as the caller knows."""

    bucket: str = "synfarm"
    prefix: str = ""
    """Root prefix of every key in the bucket, without a slash at its end."""
    endpoint: str | None = None
    """Of the S3 server, ``http://host:port``."""
    folder: str | None = None
    """Of a farm on one machine."""
    start: str | None = None
    """The command that starts that farm again on its data."""
