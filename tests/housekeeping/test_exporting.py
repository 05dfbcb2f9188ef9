"""`export`: what other tools read is what was committed; killed and begun again, nothing half-written is ever seen."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from synfarm.contracts import layout
from synfarm.contracts.commits import SampleMeta
from synfarm.contracts.generations import Opening
from synfarm.contracts.housekeeping import ExportIndex
from synfarm.contracts.jobs import JobState
from synfarm.housekeeping.exporting.destination import BucketDestination, Destination, ExportRefused, FolderDestination
from synfarm.housekeeping.exporting.export import Exported, ExportFailed, Moved, export
from synfarm.housekeeping.exporting.opening import open_destination
from synfarm.local.servers import LocalS3
from synfarm.settings import ExportSettings, StoreSettings
from synfarm.storage.memory import MemoryStore
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectStore

OTHER = "01k" + "0" * 22 + "b"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(params=["folder", "bucket"])
def destination(request: pytest.FixtureRequest, folder: Path) -> Destination:
    return FolderDestination(folder) if request.param == "folder" else BucketDestination(MemoryStore(), "s3://b/p")


def read(destination: Destination, name: str) -> bytes:
    size = destination.size(name)
    assert size is not None
    return destination.read(name, 0, size)


def index_of(destination: Destination) -> ExportIndex:
    return ExportIndex.from_bytes(read(destination, "index.json"))


def check(made: Any, destination: Destination, done: Exported) -> None:
    """Everything that the index says is there, and nothing else; the members are those that were committed."""
    index = index_of(destination)
    assert index == done.index
    assert sorted(destination.names(made.job)) == [tar.name for tar in index.tars]
    members, committed = [], []
    for tar in index.tars:
        data = read(destination, tar.name)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (tar.size, tar.sha256)
        assert len(data) % tarfile.RECORDSIZE == 0
        members += tar_members(data)
    for unit in [unit for tar in index.tars for unit in tar.units]:
        committed += tar_members(made.store.get(made.commits[unit].shard.key))
    assert members == committed
    assert index.images == sum(name.endswith(".jpg") for name, _ in members)
    assert index.captions == sum(name.endswith(".json") for name, _ in members)


def tar_members(data: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def test_one_tar_a_unit(made: Any, destination: Destination) -> None:
    made.complete(dead=[1])
    seen: list[Moved] = []
    done = export(made.store, made.job, destination, progress=seen.append)
    check(made, destination, done)
    assert [tar.units for tar in done.index.tars] == [(0,), (2,), (3,)]
    assert done.index.urls == f"{made.job}-{{000000..000002}}.tar"
    assert (seen[-1].tars, seen[-1].images, seen[-1].of_images) == (3, 16, 16)
    assert read(destination, done.index.tars[1].name) == made.store.get(made.commits[2].shard.key)
    card = read(destination, "README.md").decode()
    assert done.index.urls in card
    assert f"job `{made.job}`, generation 1" in card


@pytest.mark.parametrize(("limit", "units"), [(1, [(0,), (1,), (2,), (3,)]), (45_000, [(0, 1), (2, 3)]), (10**6, None)])
def test_merged_tars(made: Any, destination: Destination, limit: int, units: Any) -> None:
    made.complete()
    assert all(commit.shard.size == 20_480 for commit in list(made.commits.values())[:3])
    done = export(made.store, made.job, destination, shard_bytes=limit)
    check(made, destination, done)
    assert [tar.units for tar in done.index.tars] == (units or [(0, 1, 2, 3)])
    again = export(made.store, made.job, destination, shard_bytes=limit)
    assert (again.index, again.proven) == (done.index, len(done.index.tars))


# The library leaves the files that it read to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("limit", [None, 45_000])
def test_webdataset_reads_it(made: Any, folder: Path, limit: int | None) -> None:
    import webdataset

    made.complete()
    done = export(made.store, made.job, FolderDestination(folder), shard_bytes=limit)
    samples = list(webdataset.WebDataset(str(folder / done.index.urls), shardshuffle=False))
    expected = [record for unit in range(4) for record in made.records(unit) if record.text is not None]
    assert [sample["__key__"] for sample in samples] == [record.caption_id for record in expected]
    assert [SampleMeta.from_bytes(sample["json"]).caption for sample in samples] == [r.text for r in expected]
    picture = sys.modules[type(made).__module__].picture
    assert [sample["1.jpg"] for sample in samples] == [picture(2 * record.index + 1) for record in expected]


@pytest.mark.parametrize("limit", [None, 45_000])
def test_goes_on_where_it_was_and_mends_what_was_damaged(
    made: Any, destination: Destination, limit: int | None
) -> None:
    made.complete()
    done = export(made.store, made.job, destination, shard_bytes=limit)
    names = [tar.name for tar in done.index.tars]
    whole = {name: read(destination, name) for name in names}
    for damaged in (whole[names[1]][:-512], b"", whole[names[1]][:700] + b"?" + whole[names[1]][701:], whole[names[0]]):
        with destination.writing(names[1]) as file:
            file.write(damaged)
        again = export(made.store, made.job, destination, shard_bytes=limit)
        assert again.index == done.index
        assert again.proven == len(names) - 1
        assert read(destination, names[1]) == whole[names[1]]
    destination.remove("index.json")
    assert export(made.store, made.job, destination, shard_bytes=limit).proven == len(names)


def test_a_folder_that_holds_something_else(made: Any, destination: Destination, make_job: Callable[..., Any]) -> None:
    with destination.writing("README.md") as file:
        file.write(b"mine")
    with pytest.raises(ExportRefused, match=r"holds README\.md"):
        export(made.complete().store, made.job, destination)
    destination.remove("README.md")
    export(made.store, made.job, destination)
    with pytest.raises(ExportRefused, match="another --shard-size"):
        export(made.store, made.job, destination, shard_bytes=10**6)
    other = make_job(made.store, OTHER).complete()
    with pytest.raises(ExportRefused, match=f"export of job {made.job}"):
        export(made.store, other.job, destination)


def test_a_running_job_is_exported_on_request_alone_and_its_end_brought_in(made: Any, destination: Destination) -> None:
    made.commit(0)
    made.commit(2)
    with pytest.raises(ExportRefused, match="--partial"):
        export(made.store, made.job, destination)
    assert list(destination.names("")) == []
    done = export(made.store, made.job, destination, partial=True)
    check(made, destination, done)
    assert (done.index.partial, done.index.generation, len(done.index.tars)) == (True, None, 2)
    assert "had not ended" in read(destination, "README.md").decode()
    made.commit(1)
    made.commit(3)
    made.end()
    whole = export(made.store, made.job, destination, partial=True)
    check(made, destination, whole)
    assert (whole.index.partial, whole.index.generation, whole.proven) == (False, 1, 1)


def test_a_later_generation_takes_the_place_of_the_earlier(made: Any, destination: Destination) -> None:
    made.complete(dead=[0])
    export(made.store, made.job, destination)
    opening = Opening(job=made.job, generation=2, why="retry", captions=14, by="ada", at=made.spec.created_at)
    made.store.create(layout.opening(made.job, 2), opening.to_bytes())
    made.commit(0)
    made.store.delete(made.commits[3].shard.key)
    made.end(generation=2)
    with pytest.raises(ExportFailed):
        export(made.store, made.job, destination)
    assert destination.size("index.json") is None, "no index over tars of two generations"
    made.commit(3)
    check(made, destination, export(made.store, made.job, destination))


def test_fewer_tars_than_before(made: Any, destination: Destination) -> None:
    made.complete()
    export(made.store, made.job, destination)
    with destination.writing(f"{made.job}-000004.tar") as file:
        file.write(b"of an export that was longer")
    check(made, destination, export(made.store, made.job, destination))


def test_a_job_of_nothing(made: Any, destination: Destination) -> None:
    for unit in range(4):
        made.bury(unit)
    made.end(state=JobState.FAILED)
    done = export(made.store, made.job, destination)
    assert (done.index.urls, done.index.tars, done.index.images) == ("", (), 0)


@pytest.mark.parametrize("what", ["shard", "gone", "manifest"])
def test_damage_is_told_and_nothing_of_it_is_exported(made: Any, destination: Destination, what: str) -> None:
    shard = made.complete().commits[2].shard
    if what == "shard":
        made.store.put(shard.key, b"x" * shard.size)
    elif what == "gone":
        made.store.delete(shard.key)
    else:
        made.store.put(layout.manifest_part(made.job, 1, 1), b"")
    with pytest.raises(ExportFailed, match=f"synfarm verify {made.job}"):
        export(made.store, made.job, destination)
    assert destination.size(f"{made.job}-000002.tar") is None
    assert destination.size("index.json") is None


def test_two_exports_to_one_folder(made: Any, folder: Path) -> None:
    made.complete()
    with FolderDestination(folder).hold(), pytest.raises(ExportRefused, match="another export"):
        export(made.store, made.job, FolderDestination(folder))


CHILD = """
import sys
from pathlib import Path
from pydantic import SecretStr
from synfarm.housekeeping.exporting import export as exporting
from synfarm.housekeeping.exporting.destination import FolderDestination
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import MinioStore
import synfarm.housekeeping.exporting.tars as tars

endpoint, access, secret, prefix, job, folder = sys.argv[1:]
settings = StoreSettings(
    endpoint=endpoint, access_key=SecretStr(access), secret_key=SecretStr(secret), prefix=prefix
)
whole, met = tars.fetch_shard, []

def slow(store, shard):
    if len(met) == 3:  # two tars are there, the third is half written: here it hangs until it is killed
        print("hangs", flush=True)
        sys.stdin.read()
    met.append(shard)
    return whole(store, shard)

tars.fetch_shard = slow
exporting.export(MinioStore(settings), job, FolderDestination(Path(folder)), shard_bytes=21_000, threads=1)
"""


@pytest.mark.integration
def test_killed_in_the_middle_it_goes_on(
    s3_server: LocalS3, store_settings: StoreSettings, store: ObjectStore, folder: Path, make_job: Callable[..., Any]
) -> None:
    made = make_job(store, captions=18).complete()
    assert len(made.commits) == 5
    for unit in range(4):  # units of 20,480 bytes: one a tar; the last two share one
        assert made.commits[unit].shard.size == 20_480
    arguments = [s3_server.endpoint, s3_server.access_key, s3_server.secret_key, store_settings.prefix]
    command = [sys.executable, "-c", CHILD, *arguments, made.job, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"hangs\n"
        child.send_signal(signal.SIGKILL)
    seen = sorted(path.name for path in folder.iterdir())
    assert f"{made.job}-000002.tar" in seen
    assert "index.json" not in seen
    assert f".{made.job}-000003.tar.synfarm-part" in seen
    (folder / ".of-an-earlier-kill.tar.synfarm-part").write_bytes(b"half")
    (folder / ".download.part").write_bytes(b"a stranger's")
    kept = {name: os.stat(folder / name).st_mtime_ns for name in seen if name.startswith(made.job)}
    done = export(store, made.job, FolderDestination(folder), shard_bytes=21_000)
    check(made, FolderDestination(folder), done)
    assert done.proven == len(kept) == 3
    assert {name: os.stat(folder / name).st_mtime_ns for name in kept} == kept, "they were not written again"
    assert [path.name for path in folder.glob(".*part")] == [".download.part"]


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SYNFARM_EXPORT_"):
            monkeypatch.delenv(name)


@pytest.mark.integration
@pytest.mark.usefixtures("no_environment")
def test_to_another_bucket_of_a_real_server(
    s3_server: LocalS3, store_settings: StoreSettings, store: ObjectStore, make_job: Callable[..., Any]
) -> None:
    made = make_job(store).complete(dead=[2])
    place = f"exports/{time.monotonic_ns()}"
    destination = open_destination(f"s3://datasets/{place}/", store_settings, ExportSettings())
    done = export(store, made.job, destination, shard_bytes=45_000)
    check(made, destination, done)
    assert export(store, made.job, destination, shard_bytes=45_000).proven == len(done.index.tars) == 2
    bucket = open_store(store_settings.model_copy(update={"bucket": "datasets", "prefix": ""}))
    assert f"{place}/index.json" in [info.key for info in bucket.list(f"{place}/")]
    wrong = ExportSettings(access_key=SecretStr("nobody"), secret_key=SecretStr("nothing-at-all"))
    with pytest.raises(ExportRefused, match="SYNFARM_EXPORT_ENDPOINT"):
        open_destination(f"s3://datasets/{place}", store_settings, wrong)
    own = s3_server.settings("")
    with pytest.raises(ExportRefused, match="own objects"):
        open_destination("s3://synfarm/jobs/mine", own, ExportSettings())


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "http://host/bucket", "s3://UPPER/x", "gs://bucket/x", "s3://b"])
def test_what_is_no_s3_url(url: str) -> None:
    with pytest.raises(ExportRefused, match="no s3 url"):
        open_destination(url, StoreSettings(), ExportSettings())


@pytest.mark.parametrize(
    ("url", "given", "says"),
    [
        ("s3://b.c", {"ca_file": "ca.pem"}, "SYNFARM_EXPORT_CA_FILE is of use with SYNFARM_EXPORT_SECURE=true alone"),
        ("s3://b.c", {"ca_file": "no.pem", "secure": True}, "SYNFARM_EXPORT_CA_FILE: no.pem cannot be used"),
        ("s3://b.c", {"endpoint": "https://host"}, "SYNFARM_EXPORT_ENDPOINT must be host:port"),
        ("s3://b.c/a//b", {}, "the prefix must be plain segments"),
    ],
)
def test_what_is_wrong_is_told_by_the_settings_of_the_export(url: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ExportRefused, match=re.escape(says)):
        open_destination(url, StoreSettings(), ExportSettings(**given))


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ExportRefused, match="is a file"):
        open_destination(str(tmp_path / "file"), StoreSettings(), ExportSettings())
    with pytest.raises(ExportRefused, match="there is no folder"):
        open_destination(str(tmp_path / "a" / "b"), StoreSettings(), ExportSettings())
