"""Python client of both APIs, synchronous and asynchronous."""

from __future__ import annotations

from synfarm.sdk.aio import AsyncClient
from synfarm.sdk.caption_lines import BadCaptionLine
from synfarm.sdk.client import Client
from synfarm.sdk.config import ClientConfig
from synfarm.sdk.errors import ApiError, ApiUnreachable, NotAllowed, NotFound, Refused, SynfarmError

__all__ = [
    "ApiError",
    "ApiUnreachable",
    "AsyncClient",
    "BadCaptionLine",
    "Client",
    "ClientConfig",
    "NotAllowed",
    "NotFound",
    "Refused",
    "SynfarmError",
]
