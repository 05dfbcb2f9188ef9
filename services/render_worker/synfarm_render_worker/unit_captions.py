"""A unit's captions: the planned ones, one record a line, or a fault that names object, line and cure."""

from __future__ import annotations

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.captions import CaptionRecord
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.versions import beyond
from synfarm.queue.unit import UnitFault

__all__ = ["read_captions"]


def read_captions(spec: JobSpec, unit: int, data: bytes) -> list[CaptionRecord]:
    """The records of ``data``, which are those that the job plans for this unit.

    Raises:
        UnitFault: a line is damaged, or is not the caption that belongs there; names object, line and cure.
        pydantic.ValidationError: a newer version wrote it.
    """
    planned = spec.unit_range(unit)
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    records = [_record(spec, unit, number, line) for number, line in enumerate(lines, 1)]
    for number, (index, record) in enumerate(zip(planned, records, strict=False), 1):
        if (record.index, record.caption_id) != (index, caption_id(spec.job, index)):
            wanted = caption_id(spec.job, index)
            raise _fault(spec, unit, number, f"it holds caption {record.caption_id}, the plan has {wanted} there")
    if len(records) != len(planned):
        place = min(len(records), len(planned)) + 1
        raise _fault(spec, unit, place, f"the object has {len(records)} lines, the plan {len(planned)}")
    return records


def _record(spec: JobSpec, unit: int, number: int, line: bytes) -> CaptionRecord:
    try:
        line.decode()
        return CaptionRecord.from_bytes(line)
    except UnicodeDecodeError as error:
        raise _fault(spec, unit, number, f"byte {error.start} is no UTF-8") from error
    except ValidationError as error:
        if beyond(error) is not None:
            raise
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _fault(spec, unit, number, f"{field}: {first['msg']}" if field else first["msg"]) from error


def _fault(spec: JobSpec, unit: int, number: int, what: str) -> UnitFault:
    return UnitFault(
        f"captions: {layout.captions(spec.job, unit)}, line {number}: {what}. Delete that object and retry the job "
        f"(synfarm jobs retry {spec.job}): its captions are then written anew."
    )
