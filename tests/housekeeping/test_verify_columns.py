"""`verify` proves the columns beside a manifest part: every byte, and that they are of the part's units."""

from __future__ import annotations

from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.housekeeping import Fault
from synfarm.contracts.manifests import manifest_hash
from synfarm.housekeeping.verification.verifying import verify


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("none", None),
        ("gone", Fault.MANIFEST_MISSING),
        ("changed", Fault.MANIFEST_CHANGED),
        ("other", Fault.MANIFEST_DISAGREES),
    ],
)
def test_columns_of_a_manifest_part(made: Any, damage: str, fault: Fault | None) -> None:
    for unit in range(made.spec.units):
        made.commit(unit)
    ended = made.end(columns=True)
    first, second = (part.columns for part in ended.parts)
    if damage == "gone":
        made.store.delete(second.key)
    elif damage == "changed":
        made.store.put(second.key, made.store.get(second.key)[:-1] + b"?")
    elif damage == "other":
        wrong = second.model_copy(update={"key": second.key, "sha256": first.sha256, "size": first.size})
        wrong = wrong.model_copy(update={"header_bytes": first.header_bytes})
        made.store.put(second.key, made.store.get(first.key))
        parts = (ended.parts[0], ended.parts[1].model_copy(update={"columns": wrong}))
        record = ended.model_copy(update={"parts": parts, "manifest_sha256": manifest_hash(parts)})
        made.store.put(layout.ended(made.job, 1), record.to_bytes())
    findings = verify(made.store, made.job).findings
    assert [(finding.fault, finding.key) for finding in findings] == ([] if fault is None else [(fault, second.key)])
