"""Settings that cannot be used: a process ends with one line that names the variable, and never shows its value."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import ParamSpec

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from synfarm.contracts.wording import in_words
from synfarm.settings import SettingRefused
from synfarm.telemetry import configure_logging, get_logger

__all__ = ["refused_settings", "tells_refused_settings"]

P = ParamSpec("P")
_REFUSED = 2
_FIELD = re.compile(r'error parsing value for field "(\w+)"')
"""In the words of pydantic-settings (``sources/base.py``)."""


def refused_settings(error: Exception) -> str | None:
    """The variable and what is wrong with it; None of an error that is not one of settings.

    pydantic's own text repeats the value, which may be a password in the wrong place, or a secret with a stray sign.
    """
    if isinstance(error, SettingRefused):
        return str(error)
    if isinstance(error, SettingsError):
        return _unparsed(error)
    if not isinstance(error, ValidationError):
        return None
    kind = next((kind for kind in _kinds(BaseSettings) if kind.__name__ == error.title), None)
    if kind is None:
        return None
    place = error.errors()[0]["loc"][:1]
    prefix = str(kind.model_config.get("env_prefix") or "")
    words = in_words(error)
    # A fault between several variables has no place; its words name them.
    name = f"{prefix}{place[0]}".upper() if place else f"{prefix}*"
    return words if words.startswith(prefix) else f"{name}: {words}"


def _unparsed(error: SettingsError) -> str:
    """Of a list or another structure, which is read as JSON; the error has the field's name alone, without a prefix."""
    field = _FIELD.search(str(error))
    if field is None:
        return str(error)
    kinds = [kind for kind in _kinds(BaseSettings) if field[1] in kind.model_fields]
    names = {f"{kind.model_config.get('env_prefix') or ''}{field[1]}".upper() for kind in kinds}
    told = " or ".join(sorted(names.intersection(name.upper() for name in os.environ)))
    return f'{told}: must be JSON, a list as in ["one", "two"]' if told else str(error)


def _kinds(kind: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)


def tells_refused_settings(main: Callable[P, int]) -> Callable[P, int]:
    """Of a process' ``main``: it returns 2 where settings are refused, and a supervisor need not start it again."""

    @functools.wraps(main)
    def told(*arguments: P.args, **named: P.kwargs) -> int:
        try:
            return main(*arguments, **named)
        except (ValidationError, SettingsError, SettingRefused) as error:
            reason = refused_settings(error)
            if reason is None:
                raise
        if not logging.getLogger().handlers:
            configure_logging()  # it fell before it knew how it should log
        next_step = "correct the variable that is named and start again"
        get_logger(__name__).error("settings_refused", error=reason, next_step=next_step)
        return _REFUSED

    return told
