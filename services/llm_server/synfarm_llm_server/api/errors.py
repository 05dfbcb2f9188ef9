"""Errors as Text Generation Inference answers them: ``{"error", "error_type"}`` with 422, 424, 429 or 503."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from synfarm.contracts.problems import ProblemError

__all__ = ["TgiError", "generation_failed", "install_errors", "invalid", "loading", "overloaded"]


class TgiError(Exception):
    """An answer with a status and an error type that the clients map to their own exceptions."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error_type = status, error_type

    def body(self) -> dict[str, str]:
        return {"error": str(self), "error_type": self.error_type}


def invalid(reason: str) -> TgiError:
    return TgiError(422, "validation", f"Input validation error: {reason}")


def overloaded() -> TgiError:
    return TgiError(429, "overloaded", "Model is overloaded")


def loading(state: str) -> TgiError:
    return TgiError(503, "unhealthy", state)


def generation_failed(error: Exception) -> TgiError:
    return TgiError(424, "generation", f"Request failed during generation: {error}")


def install_errors(app: FastAPI) -> None:
    """Give ``app`` these answers for every error."""

    @app.exception_handler(TgiError)
    async def _tgi(_: Request, error: TgiError) -> JSONResponse:
        headers = {"Retry-After": "1"} if error.status in {429, 503} else None
        return JSONResponse(error.body(), error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def _body(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return JSONResponse(invalid(f"`{field}`: {first['msg']}").body(), 422)

    @app.exception_handler(ProblemError)
    async def _problem(_: Request, error: ProblemError) -> JSONResponse:
        problem = error.problem
        text = f"{problem.detail} {problem.hint or ''}".strip()
        return JSONResponse({"error": text, "error_type": problem.code}, problem.status)
