"""JSON over HTTP to one LLM server; sorts what can go wrong into busy, failed and refused."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import aiohttp

from synfarm_caption_api.llm.wire import CallFailed, PushedBack
from synfarm_caption_api.text_generator import PromptRefused

__all__ = ["JsonHttp", "Missing", "open_session"]

_REFUSED = {400, 413, 422}
_HOPELESS = {401, 403, 404, 405, 410}

# Servers under uvicorn (vLLM, SGLang, ours) hang up after 5 idle seconds: a connection that is older may close under a
# request, which for a POST is a failure.
_KEEP_ALIVE_SECONDS = 4.0
_CONNECT_SECONDS = 10.0
_LOOKED_AT = 16_384
"""Bytes of a refusal that are read for the 300 signs that are told."""


class Missing(CallFailed):
    """404: the server has no such route."""


def open_session(*, token: str | None, timeout: float) -> aiohttp.ClientSession:
    """The connections of one process; call it on the loop that will use them.

    ``token`` is sent as a bearer key; nothing else of this machine is (no netrc, no proxy variables, no cookies).
    ``timeout``: seconds for one request. How many requests are in flight is not decided here.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, _CONNECT_SECONDS)),
        headers={"Authorization": f"Bearer {token}"} if token else None,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class JsonHttp:
    """Requests below one base URL."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self.url = session, url.rstrip("/")

    async def get(self, path: str) -> dict[str, Any]:
        """
        Raises:
            PushedBack, CallFailed
            Missing: the server has no such route.
        """
        try:
            return await self._request("GET", path, None)
        except PromptRefused as error:
            raise CallFailed(str(error), hopeless=True) from error

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """
        Raises:
            PushedBack, CallFailed, PromptRefused
        """
        return await self._request("POST", path, body)

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            async with self._session.request(method, self.url + path, json=body, allow_redirects=False) as response:
                data = await response.read()
        except TimeoutError as error:
            raise CallFailed(f"no answer in time from {self.url}{path}", timed_out=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise CallFailed(_words(error)) from error
        if response.status != 200:
            raise self._refusal(path, response.status, response.headers, data)
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise CallFailed(f"{self.url}{path} answers 200 with no JSON: {self._said(data)}") from error
        if not isinstance(answer, dict):
            raise CallFailed(f"{self.url}{path} answers 200 with JSON that is no object: {self._said(data)}")
        return answer

    def _refusal(self, path: str, status: int, headers: Mapping[str, str], data: bytes) -> Exception:
        said = f"HTTP {status} from {self.url}{path}: {self._said(data)}"
        wait = _retry_after(headers.get("Retry-After"))
        if status == 429 or (status == 503 and wait is not None):
            return PushedBack(said, wait)
        if status == 404:
            return Missing(said, hopeless=True)
        if status in _REFUSED:
            return PromptRefused(f"the LLM refused the request: {said}")
        timed_out, hopeless = status in {408, 504}, status in _HOPELESS
        return CallFailed(said, timed_out=timed_out, hopeless=hopeless, said_no=status >= 500 and not timed_out)

    def _said(self, data: bytes) -> str:
        """The beginning of an answer without our key: a server may repeat the one that it does not know.

        The words go into logs, a job's ``stalled`` and its failures.
        """
        text = " ".join(data[:_LOOKED_AT].decode(errors="replace").split())
        key = self._session.headers.get("Authorization", "").removeprefix("Bearer ")
        for form in {key, quote(key, safe=""), b64encode(key.encode()).decode()} - {""}:
            text = text.replace(form, "(our key)")
        return text[:300] or "(empty)"


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header: a number or an HTTP date; None for what is neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
