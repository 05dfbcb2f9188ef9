"""How the synchronous client sends: repeats, problems as exceptions, event streams that go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar

import httpx
from httpx_sse import connect_sse

from synfarm.contracts.events import Event
from synfarm.sdk.call import Call, Done
from synfarm.sdk.config import ClientConfig, without_user
from synfarm.sdk.errors import ApiError, ApiUnreachable, raise_for_problem
from synfarm.sdk.following import Follower
from synfarm.sdk.retries import is_repeated, may_have_worked, may_repeat, seconds_asked
from synfarm.trust import trust_for

__all__ = ["Connection"]

T = TypeVar("T")


class Connection:
    """One API over one pool of connections; repeats what may be repeated."""

    def __init__(self, base_url: str, config: ClientConfig, transport: httpx.BaseTransport | None) -> None:
        self._config = config
        self.http = httpx.Client(
            base_url=base_url,
            headers=config.headers(),
            timeout=config.timeout,
            transport=transport,
            verify=trust_for(base_url),
        )

    def send(self, call: Call[T]) -> T:
        headers = {**({"Content-Type": "application/json"} if call.body is not None else {}), **call.headers}
        timeout, lost = max(self._config.timeout, call.timeout), False
        for attempt in range(self._config.tries):
            last = attempt + 1 == self._config.tries
            try:
                response = self.http.request(
                    call.method, call.path, params=call.params, content=call.body, headers=headers, timeout=timeout
                )
            except httpx.TransportError as error:
                if last or not is_repeated(error, costly=call.costly):
                    raise ApiUnreachable(
                        f"{call.method} {without_user(self.http.base_url)}{call.path}: {error!r}"
                    ) from error
                lost = lost or may_have_worked(error)
                time.sleep(self._config.delay(attempt))
                continue
            if not last and may_repeat(response.status_code, costly=call.costly):
                lost = lost or may_have_worked(response)
                time.sleep(seconds_asked(response) or self._config.delay(attempt))
                continue
            try:
                raise_for_problem(response)
            except ApiError as error:
                if not lost or call.done is None or error.code != call.done.code:
                    raise
                return self._done(call, call.done, error)
            return call.read(response.content)
        raise AssertionError("tries is at least 1")

    def _done(self, call: Call[T], done: Done[T], refused: ApiError) -> T:
        """The answer to a call that an earlier try may have done; ``refused`` if it has not."""
        if done.look is None:
            return call.read(b"")
        seen = self.send(done.look)
        if not done.holds(seen):
            raise refused
        return seen

    def follow(self, path: str, last_id: str | None) -> Iterator[Event]:
        follower, failures = Follower(last_id), 0
        while True:
            try:
                timeout = follower.timeout(self._config.timeout)
                with connect_sse(self.http, "GET", path, headers=follower.headers(), timeout=timeout) as source:
                    if source.response.status_code >= 400:
                        source.response.read()
                        raise_for_problem(source.response)
                    for message in source.iter_sse():
                        event = follower.take(message)
                        if event is not None:
                            failures = 0
                            yield event
                        if follower.ended:
                            return
            except httpx.TransportError as error:
                failures += 1
                if failures >= self._config.tries:
                    raise ApiUnreachable(f"GET {without_user(self.http.base_url)}{path}: {error!r}") from error
            time.sleep(self._config.delay(failures))
