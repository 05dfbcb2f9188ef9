"""Signing in with a key, and out again."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from synfarm.contracts.problems import ProblemError
from synfarm_caption_api.web.parts import Web
from synfarm_caption_api.web.visitor import Form, check_key, forget_key, is_open, keep_key, safe_target

__all__ = ["router"]

router = APIRouter()


@router.get("/sign-in")
def form(request: Request, web: Web, next: str | None = None) -> Response:
    if is_open(request):
        return RedirectResponse("/ui/", status_code=303)
    return web.pages.page(request, "sign_in.html", target=safe_target(next), problem=None)


@router.post("/sign-in")
def sign_in(request: Request, web: Web, fields: Form) -> Response:
    """Keep the key in a cookie, if it is one."""
    key, target = fields.get("key", "").strip(), safe_target(fields.get("next"))
    try:
        check_key(request, key)
    except ProblemError as error:
        return web.pages.page(request, "sign_in.html", status=401, target=target, problem=error.problem)
    response = RedirectResponse(target, status_code=303)
    keep_key(request, response, key)
    return response


@router.post("/sign-out")
def sign_out(request: Request) -> Response:
    response = RedirectResponse("/ui/sign-in", status_code=303)
    forget_key(request, response)
    return response
