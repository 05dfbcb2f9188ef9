"""Committed JSON schemas: a contract that changes must be changed on purpose."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("write_schemas", ROOT / "scripts" / "write_schemas.py")
assert _spec is not None
assert _spec.loader is not None
write_schemas = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(write_schemas)


def test_every_contract_has_its_schema_and_no_other_file_is_there() -> None:
    assert {p.stem for p in write_schemas.SCHEMAS.glob("*.json")} == set(write_schemas.contracts())


@pytest.mark.parametrize("name", sorted(write_schemas.contracts()))
def test_schema_is_the_committed_one(name: str) -> None:
    committed = (write_schemas.SCHEMAS / f"{name}.json").read_text()
    assert write_schemas.render(write_schemas.contracts()[name]) == committed, (
        f"{name} changed: give it a new schema_version if old readers would misread it, then run 'make schemas'"
    )
