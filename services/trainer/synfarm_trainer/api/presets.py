"""``/v1/presets``: the named configurations, and what one comes to before a run is made of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import JsonValue, TypeAdapter, ValidationError

from synfarm.contracts.presets import PresetInfo, PresetList, PresetView
from synfarm.contracts.problems import ProblemError
from synfarm.web import CurrentPrincipal
from synfarm_trainer.api.refused import config_refused
from synfarm_trainer.presets import preset_names, preset_of
from synfarm_trainer.presets.told import tell

__all__ = ["presets_router"]

_OVERRIDES = 'A JSON object, as in `POST /v1/runs`: `{"optim.lr": 0.001}`.'
_OBJECT = TypeAdapter(dict[str, JsonValue])


def _read(overrides: str) -> dict[str, JsonValue]:
    try:
        return _OBJECT.validate_json(overrides)
    except ValidationError as error:
        hint = 'Write names and values, for example overrides={"optim.lr": 0.001}, percent-encoded.'
        fault = "overrides is no JSON object."
        raise ProblemError(422, "invalid_request", fault, field="overrides", hint=hint) from error


def presets_router() -> APIRouter:
    """The two routes; both only compute."""
    router = APIRouter(prefix="/v1/presets", tags=["presets"])

    @router.get("", summary="List the presets")
    def presets(who: CurrentPrincipal) -> PresetList:
        """Every preset and what it is for."""
        return PresetList(items=tuple(PresetInfo(name=name, about=preset_of(name).about) for name in preset_names()))

    @router.get("/{name}", summary="See what a preset comes to")
    def preset(
        name: str, who: CurrentPrincipal, overrides: Annotated[str, Query(description=_OVERRIDES)] = "{}"
    ) -> PresetView:
        """Every field of the preset with a run's overrides applied.

        Beside it: each value's source, what one step takes, and the learning rate that is really used.
        """
        try:
            preset_of(name)
        except ValueError as error:
            hint = "GET /v1/presets lists them."
            raise ProblemError(404, "preset_not_found", str(error), field="preset", hint=hint) from error
        try:
            return tell(name, _read(overrides))
        except ValueError as error:
            raise config_refused(error) from error

    return router
