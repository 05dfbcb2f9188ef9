"""Finding out which of the two APIs a server speaks."""

from __future__ import annotations

from typing import Literal

from synfarm_caption_api.llm.completions import CompletionsApi
from synfarm_caption_api.llm.http import JsonHttp, Missing
from synfarm_caption_api.llm.tgi import TgiApi
from synfarm_caption_api.llm.wire import CallFailed, LlmApi

__all__ = ["ApiName", "discover"]

ApiName = Literal["auto", "tgi", "completions"]


async def discover(http: JsonHttp, api: ApiName, model: str | None = None) -> LlmApi:
    """The API that the server speaks; ``auto`` takes TGI's own where there is one, because it tells more.

    Raises:
        PushedBack, CallFailed
    """
    if api == "tgi":
        return await TgiApi.discover(http)
    if api == "completions":
        return await CompletionsApi.discover(http, model)
    try:
        return await TgiApi.discover(http)
    except CallFailed as error:
        if not error.hopeless:
            raise
        native = error
    try:
        return await CompletionsApi.discover(http, model)
    except Missing as error:
        raise CallFailed(
            f"{http.url} speaks neither TGI's API ({native}) nor /v1/completions", hopeless=True
        ) from error
