"""Requests about presets of the trainer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

from pydantic import JsonValue

from synfarm.contracts.presets import PresetList, PresetView
from synfarm.sdk.call import Call

__all__ = ["list_presets", "tell_preset"]


def list_presets() -> Call[PresetList]:
    return Call("GET", "/v1/presets", PresetList.from_peer)


def tell_preset(name: str, overrides: Mapping[str, JsonValue] | None) -> Call[PresetView]:
    params = {"overrides": json.dumps(dict(overrides))} if overrides else {}
    return Call("GET", f"/v1/presets/{quote(name, safe='')}", PresetView.from_peer, params=params)
