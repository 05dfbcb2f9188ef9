"""`verify`: each kind of damage gives one finding that names it; what is right gives none."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from synfarm.contracts import layout
from synfarm.contracts.commits import Member
from synfarm.contracts.housekeeping import Fault, Finding, Verification
from synfarm.contracts.ids import caption_id
from synfarm.contracts.jobs import JobState
from synfarm.contracts.manifests import Ended
from synfarm.housekeeping.job_record import NoSuchJob
from synfarm.housekeeping.verification.image_check import image_fault
from synfarm.housekeeping.verification.verifying import Passed, verify
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import ObjectStore, StoreUnavailable


def only(made: Any, **options: Any) -> Finding:
    found = verify(made.store, made.job, **options)
    assert [finding.fault for finding in found.findings] == [found.findings[0].fault]
    assert found.findings_total == 1
    assert found.findings[0].todo
    return found.findings[0]


def test_a_whole_job_is_clean(made: Any) -> None:
    seen: list[Passed] = []
    found = verify(made.complete(dead=[2]).store, made.job, threads=3, progress=seen.append)
    assert found.clean
    assert (found.state, found.generation, found.planned) == ("completed_with_errors", 1, 14)
    assert (found.units_checked, found.images_checked) == (3, 16)
    totals = found.counts
    assert (totals.units_committed, totals.units_dead, totals.captions, totals.images) == (3, 1, 8, 16)
    assert totals.captions + totals.empty + len(made.spec.unit_range(2)) == found.planned
    assert (seen[-1].units, seen[-1].of) == (4, 4)


def test_webp_and_a_unit_of_empty_slots(memory: MemoryStore, make_job: Callable[..., Any]) -> None:
    made = make_job(memory, render={"size": 32, "image_format": "webp"})
    picture = sys.modules[type(made).__module__].picture
    for unit in range(made.spec.units):
        made.commit(unit, made.shard(unit, lambda number: picture(number, form="WEBP")))
    made.end()
    assert verify(memory, made.job).clean


def change(store: ObjectStore, key: str, at: int, data: bytes) -> None:
    whole = bytearray(store.get(key))
    whole[at : at + len(data)] = data
    store.put(key, bytes(whole))


def test_a_flipped_byte(made: Any) -> None:
    commit = made.complete().commits[1]
    member = commit.groups[2].members[0]
    byte = made.store.get(commit.shard.key)[member.offset + 100]
    change(made.store, commit.shard.key, member.offset + 100, bytes([byte ^ 1]))
    finding = only(made)
    assert (finding.fault, finding.unit, finding.key) == (Fault.SHARD_CHANGED, 1, commit.shard.key)
    assert f"1 of 3 captions: {commit.groups[2].caption_id}" in finding.what
    assert "backup" in finding.todo


def test_two_members_swapped(made: Any) -> None:
    commit = made.complete().commits[0]
    data = made.store.get(commit.shard.key)
    one, other = commit.groups[0].members[0], commit.groups[1].members[0]
    assert one.length == other.length or (one.length + 511) // 512 == (other.length + 511) // 512
    size = 512 + (one.length + 511) // 512 * 512
    blocks = [data[member.offset - 512 : member.offset - 512 + size] for member in (one, other)]
    change(made.store, commit.shard.key, one.offset - 512, blocks[1])
    change(made.store, commit.shard.key, other.offset - 512, blocks[0])
    finding = only(made)
    assert finding.fault is Fault.SHARD_CHANGED
    assert commit.groups[0].caption_id in finding.what
    assert commit.groups[1].caption_id in finding.what


def test_a_cut_tar(made: Any) -> None:
    shard = made.complete().commits[0].shard
    made.store.put(shard.key, made.store.get(shard.key)[: shard.size - 5000])
    finding = only(made)
    assert finding.fault is Fault.SHARD_CHANGED
    assert f"{shard.size - 5000} of {shard.size} bytes" in finding.what


def test_a_tar_that_is_gone(made: Any) -> None:
    shard = made.complete().commits[3].shard
    made.store.delete(shard.key)
    finding = only(made)
    assert (finding.fault, finding.unit, finding.key) == (Fault.SHARD_MISSING, 3, shard.key)


def test_a_commit_that_is_gone(made: Any) -> None:
    made.complete().store.delete(layout.commit(made.job, 1))
    finding = only(made)
    assert (finding.fault, finding.unit) == (Fault.COMMIT_MISSING, 1)
    assert only(made, share=0.01).fault is Fault.COMMIT_MISSING, "listings are read whole whatever the share"


def test_a_commit_of_a_unit_that_is_gone_with_its_line(made: Any) -> None:
    made.commit(0)
    made.commit(2)
    made.commit(3)
    made.end(state=JobState.COMPLETED)
    finding = only(made)
    assert (finding.fault, finding.unit) == (Fault.UNIT_MISSING, 1)


def test_a_commit_that_is_none(made: Any) -> None:
    made.complete().store.put(layout.commit(made.job, 1), b"{}")
    assert only(made).fault is Fault.COMMIT_UNREADABLE


def test_a_commit_of_another_unit(made: Any) -> None:
    made.complete().store.put(layout.commit(made.job, 1), made.commits[0].to_bytes())
    assert only(made).fault is Fault.COMMIT_FOREIGN


def test_a_commit_that_names_another_s_tar(made: Any) -> None:
    commit = made.complete().commits[1]
    elsewhere = commit.shard.model_copy(update={"key": made.commits[0].shard.key})
    made.store.put(layout.commit(made.job, 1), commit.model_copy(update={"shard": elsewhere}).to_bytes())
    assert only(made).fault is Fault.COMMIT_FOREIGN


def test_a_caption_id_twice(made: Any) -> None:
    commit = made.complete().commits[0]
    rows = list(commit.groups)
    rows[2] = rows[2].model_copy(update={"caption_id": rows[1].caption_id})
    made.store.put(layout.commit(made.job, 0), commit.model_copy(update={"groups": tuple(rows)}).to_bytes())
    finding = only(made)
    assert finding.fault is Fault.CAPTION_TWICE
    assert rows[1].caption_id in finding.what
    assert "1 and 2" in finding.what


@pytest.mark.parametrize("other", [9, 400])
def test_a_caption_of_another_unit(made: Any, other: int) -> None:
    """Also a caption id that stands in two units: one of the two is not where it was planned."""
    commit = made.complete().commits[0]
    rows = list(commit.groups)
    rows[2] = rows[2].model_copy(update={"index": other, "caption_id": caption_id(made.job, other)})
    made.store.put(layout.commit(made.job, 0), commit.model_copy(update={"groups": tuple(rows)}).to_bytes())
    assert only(made).fault is Fault.COMMIT_OFF_PLAN


def test_a_slot_that_is_listed_nowhere(made: Any) -> None:
    commit = made.commit(0)
    made.rewrite(commit.model_copy(update={"empty": ()}))
    for unit in (1, 2, 3):
        made.commit(unit)
    made.end()
    finding = only(made)
    assert finding.fault is Fault.COMMIT_OFF_PLAN
    assert "missing: [3]" in finding.what


def test_captions_that_are_gone_or_changed(made: Any) -> None:
    key = layout.captions(made.complete().job, 2)
    data = made.store.get(key)
    made.store.put(key, data.replace(b"a dog", b"a cat"))
    assert only(made).fault is Fault.CAPTIONS_CHANGED
    made.store.delete(key)
    assert only(made).fault is Fault.CAPTIONS_MISSING


def _with_shard(made: Any, **how: Any) -> Any:
    """Unit 0 as a broken worker would have committed it: every hash right, the content wrong."""
    made.commit(0, made.shard(0, **how))
    for unit in (1, 2, 3):
        made.commit(unit)
    made.end()
    return made


def test_an_image_that_is_cut_or_too_large(made: Any) -> None:
    picture = sys.modules[type(made).__module__].picture
    whole, webp = picture(1), picture(1, form="WEBP")
    assert image_fault(whole, "jpg", 32) is image_fault(webp, "webp", 32) is None
    for wrong in (whole[:-300], whole[:-2], whole + b"x", picture(1, size=16), picture(1, form="PNG"), webp, b""):
        assert image_fault(wrong, "jpg", 32) is not None
    for wrong in (webp[:-1], webp + b"x", whole, b""):
        assert image_fault(wrong, "webp", 32) is not None
    _with_shard(made, draw=lambda number: picture(number)[:-300] if number == 3 else picture(number))
    finding = only(made)
    assert finding.fault is Fault.IMAGE_BROKEN
    assert f"{caption_id(made.job, 1)}.1.jpg" in finding.what


@pytest.mark.parametrize(
    ("name", "value"),
    [("caption", "a cat"), ("concept", "cat"), ("size", 64), ("second", "a beach"), ("template", "c,bg")],
)
def test_the_json_of_a_sample_against_row_job_and_caption(made: Any, name: str, value: Any) -> None:
    """As the writer takes concept and template of a row from the JSON, those are put right again in the row."""

    def meta(record: Any) -> Any:
        return made.meta(record, **({name: value} if record.index == 1 else {}))

    _with_shard(made, meta=meta)
    rows = tuple(row.model_copy(update={"concept": "dog", "template": "c"}) for row in made.commits[0].groups)
    made.store.put(layout.commit(made.job, 0), made.commits[0].model_copy(update={"groups": rows}).to_bytes())
    finding = only(made)
    assert finding.fault is Fault.META_WRONG
    assert f"{name} is {str(value)!r}" in finding.what


def test_a_sample_whose_json_is_none(made: Any) -> None:
    """A member of the right name and hash that holds something else."""
    shard = made.shard(0)
    row = shard.groups[0]
    data = bytearray(shard.data)
    meta = row.members[-1]
    data[meta.offset : meta.offset + meta.length] = b"[" + b" " * (meta.length - 2) + b"]"
    block = bytes(data[row.offset : row.offset + row.length])
    rows = (row.model_copy(update={"sha256": hashlib.sha256(block).hexdigest()}), *shard.groups[1:])
    damaged = type(shard)(bytes(data), hashlib.sha256(data).hexdigest(), rows)
    made.commit(0, damaged)
    for unit in (1, 2, 3):
        made.commit(unit)
    made.end()
    assert only(made).fault is Fault.META_WRONG


def test_rows_that_point_elsewhere_in_a_whole_tar(made: Any) -> None:
    commit = made.complete().commits[0]
    row = commit.groups[0]
    members = (*row.members[:1], Member(name=row.members[1].name, offset=row.members[1].offset + 1, length=5))
    rows = (row.model_copy(update={"members": (*members, row.members[2])}), *commit.groups[1:])
    made.store.put(layout.commit(made.job, 0), commit.model_copy(update={"groups": rows}).to_bytes())
    finding = only(made)
    assert finding.fault is Fault.SHARD_DISAGREES
    assert row.members[1].name in finding.what


def test_an_edited_manifest(made: Any) -> None:
    key = layout.manifest_part(made.complete().job, 1, 1)
    made.store.put(key, made.store.get(key).replace(b'"images":6', b'"images":8'))
    finding = only(made)
    assert (finding.fault, finding.unit, finding.key) == (Fault.MANIFEST_CHANGED, None, key)
    made.store.delete(key)
    assert only(made).fault is Fault.MANIFEST_MISSING


def test_an_edited_end_record(made: Any) -> None:
    key = layout.ended(made.complete().job, 1)
    ended = Ended.from_bytes(made.store.get(key))
    counts = ended.counts.model_copy(update={"images": ended.counts.images + 1})
    made.store.put(key, ended.model_copy(update={"counts": counts}).to_bytes())
    finding = only(made)
    assert finding.fault is Fault.ENDED_WRONG
    assert "images" in finding.what
    made.store.put(key, ended.model_copy(update={"manifest_sha256": "0" * 64}).to_bytes())
    assert only(made).fault is Fault.ENDED_WRONG
    made.store.put(key, ended.model_copy(update={"planned": 15}).to_bytes())
    assert "15" in only(made).what


def test_a_manifest_that_has_its_hash_and_another_tar(made: Any) -> None:
    for unit in range(4):
        made.commit(unit)
    made.lines[1] = made.lines[1].model_copy(update={"shard": made.lines[0].shard})
    made.end()
    finding = only(made)
    assert (finding.fault, finding.unit) == (Fault.MANIFEST_DISAGREES, 1)


def test_foreign_objects(made: Any) -> None:
    key = f"{layout.commits_fan_prefix(made.complete().job, 0)}00000001.json.bak"
    made.store.put(key, b"x")
    finding = only(made)
    assert (finding.fault, finding.key) == (Fault.OBJECT_FOREIGN, key)


def test_several_damages_are_several_findings_in_order_of_units(made: Any) -> None:
    made.complete()
    made.store.delete(made.commits[3].shard.key)
    made.store.delete(layout.commit(made.job, 0))
    key = layout.manifest_part(made.job, 1, 1)
    made.store.put(key, b"")
    found = verify(made.store, made.job)
    assert [(finding.unit, finding.fault) for finding in found.findings] == [
        (None, Fault.MANIFEST_CHANGED),
        (0, Fault.COMMIT_MISSING),
        (3, Fault.SHARD_MISSING),
    ]


def test_a_share_of_the_units_is_keyed(made: Any) -> None:
    made.complete()
    shares = {seed: verify(made.store, made.job, share=0.5, seed=seed).units_checked for seed in range(12)}
    assert shares == {seed: verify(made.store, made.job, share=0.5, seed=seed).units_checked for seed in range(12)}
    assert len(set(shares.values())) > 1
    assert all(verify(made.store, made.job, share=0.5, seed=seed).clean for seed in range(12))


def test_memory_holds_a_shard_a_thread(memory: MemoryStore, make_job: Callable[..., Any]) -> None:
    """However many units there are, the tars that are alive at one time are as many as the threads."""
    made = make_job(memory, captions=60).complete()
    alive, most, lock, get = 0, 0, threading.Lock(), memory.get

    class Tar(bytes):
        def __del__(self) -> None:
            nonlocal alive
            with lock:
                alive -= 1

    def counted(key: str) -> bytes:
        nonlocal alive, most
        if not key.endswith(".tar"):
            return get(key)
        data = Tar(get(key))
        with lock:
            alive += 1
            most = max(most, alive)
        return data

    memory.get = counted  # type: ignore[method-assign]
    assert verify(memory, made.job, threads=2).clean
    assert 1 <= most <= 2


def test_a_store_that_goes_away_is_no_finding(made: Any) -> None:
    made.complete()
    gone = made.commits[2].shard.key

    def away(operation: str, key: str) -> None:
        if key == gone:
            raise StoreUnavailable(f"{key}: 500")

    made.store.fault = away
    finding = only(made)
    assert (finding.fault, finding.key) == (Fault.OBJECT_UNREADABLE, gone)

    def all_away(operation: str, key: str) -> None:
        if key == gone:
            made.store.fault = lambda *_: (_ for _ in ()).throw(StoreUnavailable("away"))
            raise StoreUnavailable(f"{key}: 500")

    made.store.fault = all_away
    with pytest.raises(StoreUnavailable):
        verify(made.store, made.job)


def test_no_such_job(memory: MemoryStore, made: Any) -> None:
    with pytest.raises(NoSuchJob, match="no job"):
        verify(memory, "01k" + "0" * 22 + "z")
    memory.put(layout.tombstone(made.job), b"{}")
    with pytest.raises(NoSuchJob, match="deleted"):
        verify(memory, made.job)


@pytest.mark.integration
def test_on_a_real_store(store: ObjectStore, make_job: Callable[..., Any]) -> None:
    made = make_job(store).complete(dead=[1])
    assert verify(store, made.job).clean
    shard = made.commits[2].shard
    store.delete(shard.key)
    assert only(made).fault is Fault.SHARD_MISSING
    text = verify(store, made.job).model_dump_json()
    assert Verification.from_bytes(text).findings[0].unit == 2
    assert json.loads(text)["findings"][0]["fault"] == "shard_missing"
