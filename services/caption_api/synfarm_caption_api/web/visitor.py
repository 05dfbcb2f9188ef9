"""Who looks at the page: the key in its cookie, sign-in and sign-out, and the refusal of other sites' posts.

The cookie holds the bearer key itself: no replica then keeps sessions, and the same key goes on to the trainer. It is
HttpOnly, SameSite=Strict and sent to ``/ui`` alone; the API below ``/v1`` reads the ``Authorization`` header only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request, Response

from synfarm.auth import Authenticator, Principal
from synfarm.contracts.problems import ProblemError
from synfarm.web import Admit

__all__ = [
    "CurrentVisitor",
    "Form",
    "Visitor",
    "check_key",
    "forget_key",
    "is_open",
    "keep_key",
    "refuse_cross_site",
    "safe_target",
    "visitor_of",
]

_PATH = "/ui"
_COOKIE_SECONDS = 30 * 86400
_MOST_FIELDS = 100
_SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person with the rights of a principal."""

    principal: Principal
    authorization: str | None = field(repr=False)
    """The header that proves it, to pass on to the trainer; None where no key is needed."""


def _visitor(request: Request) -> Visitor:
    authorization = request.headers.get("authorization")
    if authorization is None and (key := request.cookies.get(_cookie(request))):
        authorization = f"Bearer {key}"
    return Visitor(_authenticator(request)(authorization), authorization)


async def _admitted(request: Request) -> Visitor:
    visitor = _visitor(request)
    admit: Admit | None = request.app.state.admit
    # What changes something, or asks the language model. One look at a page is a dozen requests for pictures and news.
    if admit is not None and request.method not in _SAFE:
        await admit(visitor.principal)
    return visitor


CurrentVisitor = Annotated[Visitor, Depends(_admitted)]
"""Route parameter; without a valid key the request ends in 401, which the page answers with its sign-in form, and a
post beyond the key's requests a second in 429."""


def visitor_of(request: Request) -> Visitor | None:
    """Who looks, or None without a valid key: for pages that greet both."""
    try:
        return _visitor(request)
    except ProblemError:
        return None


async def _form(request: Request) -> Mapping[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise ProblemError(415, "not_a_form", f"This address takes forms, not {kind or 'a body without a type'}.")
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise ProblemError(400, "form_malformed", "The form cannot be read.", hint="Send it again.") from error
    return dict(pairs)


Form = Annotated[Mapping[str, str], Depends(_form)]
"""Route parameter: the fields of an urlencoded form, the last one of each name."""


def refuse_cross_site(request: Request) -> None:
    """Let only this page's own forms and scripts change anything.

    SameSite keeps the cookie from other sites' requests; a server without keys has no cookie to keep, so the browser's
    own word on where a request comes from is asked too.

    Raises:
        ProblemError: 403.
    """
    if request.method in _SAFE:
        return
    fetched, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if fetched is not None:
        own = fetched == "same-origin"
    else:
        own = origin is not None and urlsplit(origin).netloc == request.headers.get("host")
    if not own:
        raise ProblemError(
            403,
            "cross_site",
            "This form was not sent by this page.",
            hint="Open the page itself and send the form there; programs use the API below /v1.",
        )


def is_open(request: Request) -> bool:
    """Whether this server needs no key."""
    try:
        _authenticator(request)(None)
    except ProblemError:
        return False
    return True


def check_key(request: Request, key: str) -> Principal:
    """Whose key this is.

    Raises:
        ProblemError: 401, nobody's.
    """
    return _authenticator(request)(f"Bearer {key}")


def keep_key(request: Request, response: Response, key: str) -> None:
    response.set_cookie(
        _cookie(request),
        key,
        max_age=_COOKIE_SECONDS,
        path=_PATH,
        httponly=True,
        samesite="strict",
        secure=_over_tls(request),
    )


def forget_key(request: Request, response: Response) -> None:
    response.delete_cookie(_cookie(request), path=_PATH, httponly=True, samesite="strict")


def safe_target(value: str | None) -> str:
    """``value`` if it is a path of this page, else the first page: a sign-in never leads to another site."""
    if value and value.startswith(f"{_PATH}/") and not any(c in value for c in "\\\r\n") and "//" not in value:
        return value
    return f"{_PATH}/"


def _over_tls(request: Request) -> bool:
    """Whether the browser speaks TLS, with this server or with a proxy before it: its form's origin tells."""
    return request.url.scheme == "https" or urlsplit(request.headers.get("origin", "")).scheme == "https"


def _cookie(request: Request) -> str:
    # Browsers share the cookies of one host between its ports: two farms on one machine must not sign each other out.
    return f"synfarm-key-{request.url.port or request.url.scheme}"


def _authenticator(request: Request) -> Authenticator:
    found: Authenticator = request.app.state.authenticate
    return found
