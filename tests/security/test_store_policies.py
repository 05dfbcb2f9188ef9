"""What each role's policy promises, key by key, and that a real store reads the policies as meant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.fault_proxy import FaultProxy
from tests.housekeeping.conftest import Made, spec_of
from tests.security.role_farm import Notes
from tests.security.store_policies import BUCKET, ROLES, Credentials, policies, with_identities

from synfarm.contracts import layout
from synfarm.contracts.generations import Opening
from synfarm.contracts.tombstones import Tombstone
from synfarm.housekeeping.collecting import collect
from synfarm.local.ports import HeldPorts
from synfarm.local.servers import LocalServer, S3Ports, s3
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import MinioStore, open_store
from synfarm.storage.probe import probe
from synfarm.storage.protocol import ObjectMissing, StoreRefused

JOB, RUN, SHA = "01hzzzzzzzzzzzzzzzzzzzzzz0", "01hzzzzzzzzzzzzzzzzzzzzzz1", "ab" * 32
OTHER_JOB = "01hzzzzzzzzzzzzzzzzzzzzzz3"
GET, PUT, DELETE = "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
KNOWN = {"s3:ListBucket", "s3:CreateBucket", "s3:AbortMultipartUpload", GET, PUT, DELETE}
NOBODY: frozenset[str] = frozenset()
PROVING = {*ROLES} - {"housekeeping"}
"""Who proves the store at its start: all but the nightly sweep."""

# What may be done to each kind of object, by whom besides the admin.
MAY: dict[str, tuple[set[str] | frozenset[str], set[str] | frozenset[str], set[str] | frozenset[str]]] = {
    # key: (read, write, delete)
    layout.active(JOB): ({"api", "caption", "housekeeping", "renderer", "trainer"}, {"api"}, {"api"}),
    layout.job(JOB): ({"api", "caption", "housekeeping", "renderer", "trainer"}, {"api"}, {"api"}),
    layout.webhook(JOB): ({"api"}, {"api"}, {"api", "housekeeping"}),
    layout.notice(JOB, "ended-1"): ({"api"}, {"api"}, {"api"}),
    layout.delivery(JOB, "ended-1"): ({"api"}, {"api"}, {"api", "housekeeping"}),
    layout.tombstone(JOB): ({"api", "caption", "housekeeping", "renderer", "trainer"}, {"api"}, {"api"}),
    layout.cancel(JOB): ({"api", "caption", "renderer"}, {"api"}, {"api", "housekeeping"}),
    layout.pause(JOB): ({"api", "caption", "renderer"}, {"api"}, {"api", "housekeeping"}),
    layout.opening(JOB, 2): ({"api", "caption", "housekeeping", "renderer"}, {"api"}, {"api", "housekeeping"}),
    layout.captions(JOB, 0): ({"api", "caption", "renderer"}, {"caption"}, {"api", "housekeeping"}),
    layout.shard(JOB, 0, SHA): (
        {"api", "housekeeping", "renderer", "trainer"},
        {"housekeeping", "renderer"},
        {"api", "housekeeping"},
    ),
    layout.commit(JOB, 0): (
        {"api", "caption", "housekeeping", "renderer", "trainer"},
        {"renderer"},
        {"api", "housekeeping"},
    ),
    layout.failure(JOB, 0): ({"api", "caption", "renderer"}, {"caption", "renderer", "api"}, {"api", "housekeeping"}),
    layout.retried(JOB, 2, 0): ({"api"}, {"api"}, {"api", "housekeeping"}),
    layout.progress(JOB): ({"api", "trainer"}, {"api"}, {"api", "housekeeping"}),
    layout.manifest_part(JOB, 1, 0): ({"api", "housekeeping", "trainer"}, {"api"}, {"api", "housekeeping"}),
    layout.manifest_columns(JOB, 1, 0): ({"api", "housekeeping", "trainer"}, {"api"}, {"api", "housekeeping"}),
    layout.ended(JOB, 1): ({"api", "housekeeping", "trainer"}, {"api"}, {"api", "housekeeping"}),
    layout.card(JOB): ({"api"}, {"api"}, {"api", "housekeeping"}),
    layout.pin(JOB, RUN): (
        {"api", "housekeeping", "trainer"},
        {"housekeeping", "trainer"},
        {"api", "housekeeping", "trainer"},
    ),
    layout.recipe(SHA): ({"api", "caption"}, {"api"}, NOBODY),
    layout.upload_part("ada", "mine", 0, 1, SHA): ({"api", "caption"}, {"api"}, NOBODY),
    layout.upload_commit("ada", "mine"): ({"api", "caption"}, {"api"}, NOBODY),
    layout.concept_set("ada", "mine"): ({"api"}, {"api"}, {"api"}),
    layout.idempotency("ada", "jobs", "k"): ({"api", "trainer"}, {"api", "trainer"}, NOBODY),
    layout.weights_file("a.safetensors"): ({"trainer"}, NOBODY, NOBODY),
    layout.run(RUN): ({"api", "housekeeping", "trainer"}, {"trainer"}, NOBODY),
    layout.attempt(RUN, 0): ({"trainer"}, {"trainer"}, NOBODY),
    layout.metrics_part(RUN, 0, 0): ({"trainer"}, {"trainer"}, NOBODY),
    layout.eval_record(RUN, 1, "knn.json"): ({"trainer"}, {"trainer"}, NOBODY),
    layout.segment(RUN, 0): ({"trainer"}, {"trainer"}, NOBODY),
    layout.run_stop(RUN): ({"trainer"}, {"trainer"}, {"trainer"}),
    layout.run_ended(RUN): ({"housekeeping", "trainer"}, {"trainer"}, {"trainer"}),
    layout.checkpoint_commit(RUN, 1, 0): ({"housekeeping", "trainer"}, {"trainer"}, {"housekeeping", "trainer"}),
    layout.checkpoint_file(RUN, 1, 0, "student.safetensors"): (
        {"housekeeping", "trainer"},
        {"trainer"},
        {"housekeeping", "trainer"},
    ),
    layout.export_file(RUN, "backbone.safetensors"): ({"trainer"}, {"trainer"}, NOBODY),
    "probe/x/etag": (PROVING, PROVING, PROVING),
    "somebody/elses": (NOBODY, NOBODY, NOBODY),
}


def test_policies_only_allow_and_only_what_is_named() -> None:
    for role, policy in policies().items():
        assert policy.document["Version"] == "2012-10-17"
        assert {key for one in policy.document["Statement"] for key in one} == {"Sid", "Effect", "Action", "Resource"}
        assert {one["Effect"] for one in policy.document["Statement"]} == {"Allow"}
        sids = [statement.sid for statement in policy.statements]
        assert len(set(sids)) == len(sids)
        for statement in policy.statements:
            assert set(statement.actions) <= KNOWN, (role, statement.sid)
            for action, resource in statement.grants():
                of_bucket = action in {"s3:ListBucket", "s3:CreateBucket"}
                assert (resource == BUCKET) == of_bucket, (role, statement.sid)
                assert of_bucket or resource.startswith(f"{BUCKET}/")
        assert ("s3:CreateBucket" in {a for s in policy.statements for a in s.actions}) == (role == "admin")


@pytest.mark.parametrize("key", MAY)
def test_who_may_do_what_with_an_object(key: str) -> None:
    known = policies()
    told = tuple({role for role in ROLES if known[role].allows(action, key)} for action in (GET, PUT, DELETE))
    assert told == tuple({*roles, "admin"} for roles in MAY[key])


def test_what_may_be_written_may_be_read_back() -> None:
    """A create-only write that was refused or lost reads the object: only so does its writer know whether it won."""
    for role, policy in policies().items():
        granted = {grant for statement in policy.statements for grant in statement.grants()}
        for action, resource in granted:
            key = resource.removeprefix(f"{BUCKET}/").replace("*", "x")
            assert action != PUT or policy.allows(GET, key), (role, resource)


def test_no_worker_deletes_but_what_it_proved_the_store_with() -> None:
    for role in ("caption", "renderer"):
        deletable = [
            resource
            for statement in policies()[role].statements
            for action, resource in statement.grants()
            if action == DELETE
        ]
        assert deletable == [f"{BUCKET}/probe/*"]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, StoreSettings]]:
    """A store that knows these roles alone, and how each of them opens it."""
    folder, held = tmp_path_factory.mktemp("limited"), HeldPorts(8)
    credentials = {role: Credentials.fresh() for role in ROLES}
    ports = S3Ports(*held.numbers)
    spec = with_identities(s3(folder, ports, "unused", "unused"), folder / "identities.json", credentials)
    server = LocalServer(spec, folder / "s3.log")
    server.bring_up()
    settings = StoreSettings(endpoint=f"127.0.0.1:{ports.s3}", retries=1)
    open_store(credentials["admin"].into(settings))
    yield {role: known.into(settings) for role, known in credentials.items()}
    server.kill()


@pytest.mark.integration
def test_every_role_opens_and_proves_a_store_that_knows_it_by_its_policy(limited: dict[str, StoreSettings]) -> None:
    for role in PROVING:
        assert probe(open_store(limited[role])) == {}, role


@pytest.mark.integration
def test_a_real_store_holds_each_role_to_its_policy(limited: dict[str, StoreSettings]) -> None:
    stores = {role: MinioStore(settings) for role, settings in limited.items()}
    commit, text, secret = layout.commit(JOB, 0), layout.captions(JOB, 0), layout.webhook(JOB)

    assert stores["caption"].create(text, b"texts")
    assert not stores["caption"].create(text, b"others"), "create-only, also for who may write"
    assert stores["renderer"].get(text) == b"texts"
    assert stores["renderer"].create(commit, b"commit")
    assert stores["api"].create(secret, b"secret")
    for role, act in (
        ("caption", lambda store: store.create(commit, b"forged")),
        ("caption", lambda store: store.put(commit, b"forged")),
        ("caption", lambda store: store.get(secret)),
        ("caption", lambda store: store.delete(text)),
        ("renderer", lambda store: store.create(layout.captions(JOB, 1), b"forged")),
        ("renderer", lambda store: store.delete(commit)),
        ("trainer", lambda store: store.create(layout.commit(JOB, 1), b"forged")),
        ("trainer", lambda store: store.get(secret)),
        ("trainer", lambda store: store.delete(commit)),
        ("api", lambda store: store.create(layout.commit(JOB, 1), b"forged")),
        ("api", lambda store: store.get(layout.attempt(RUN, 0))),
    ):
        with pytest.raises(StoreRefused):
            act(stores[role])
    with pytest.raises(ObjectMissing):
        stores["renderer"].get(layout.commit(JOB, 2))
    assert [info.key for info in stores["trainer"].list(layout.commits_prefix(JOB))] == [commit]
    assert stores["trainer"].get(commit) == b"commit"
    assert stores["admin"].get(commit) == b"commit"


class _LosesRaces(MinioStore):
    """Right after a deletion somebody else turns out to need what was deleted."""

    others: list[tuple[str, str, bytes]]
    """(folder of what is deleted, object that appears then, what it holds)"""
    admin: MinioStore

    def delete(self, key: str) -> None:
        super().delete(key)
        for race in [race for race in self.others if race[0] in key]:
            self.others.remove(race)
            self.admin.create(race[1], race[2])


@pytest.mark.integration
def test_the_nightly_sweep_lives_on_its_role_and_uses_all_of_it(limited: dict[str, StoreSettings]) -> None:
    admin = MinioStore(limited["admin"])
    made, gone, other = Made(admin).begin(), OTHER_JOB, f"{RUN[:-1]}2"
    admin.put(beside := layout.shard(made.job, 0, SHA), b"lost to the commit of its unit")
    admin.put(without := layout.shard(made.job, 2, SHA), b"its unit was given up")
    admin.put(needed := layout.shard(made.job, 3, SHA), b"its unit is retried in this moment")
    made.complete(dead=[2, 3])
    admin.put(layout.pin(made.job, RUN), b"{}")
    admin.put(layout.pin(made.job, other), b"{}")
    # Beside a later commit; without one in a run that has ended.
    admin.put(layout.checkpoint_file(RUN, 1, 0, "a.safetensors"), b"tensors")
    admin.put(layout.checkpoint_commit(RUN, 2, 0), b"{}")
    admin.put(layout.checkpoint_file(RUN, 3, 0, "a.safetensors"), b"tensors")
    admin.put(layout.run_ended(RUN), b"{}")
    # Whatever a job has may come after its purge.
    spec = spec_of(gone)
    late = [key.replace(JOB, gone) for key in MAY if key.startswith(f"jobs/{JOB}/")]
    late = [key for key in late if key not in {layout.job(gone), layout.tombstone(gone)}]
    for key in late:
        admin.put(key, b"late")
    stone = Tombstone(by="ada", at=spec.created_at, purging=True)
    admin.put(layout.tombstone(gone), stone.to_bytes())

    kept = Notes()
    proxy = FaultProxy(("127.0.0.1", int(limited["admin"].endpoint.rpartition(":")[2])), notes=False)
    proxy.always = dict.fromkeys(("GET", "HEAD", "PUT", "POST", "DELETE"), kept.note)
    try:
        store = _LosesRaces(limited["housekeeping"].model_copy(update={"endpoint": proxy.endpoint}))
        opening = Opening(job=made.job, generation=2, why="retry", captions=14, by="ada", at=spec.created_at)
        store.admin, store.others = (
            admin,
            [
                (needed, layout.opening(made.job, 2), opening.to_bytes()),
                (layout.pin(made.job, other), layout.run(other), b"{}"),
            ],
        )
        found = collect(store, now=store.now() + timedelta(days=2), delete=True)
    finally:
        proxy.close()

    assert (kept.refused, store.others) == ([], [])
    removed = {removal.key for removal in found.removals}
    assert removed == {
        *(beside, without, layout.pin(made.job, RUN), *late),
        *(layout.checkpoint_file(RUN, step, 0, "a.safetensors") for step in (1, 3)),
    }
    assert admin.get(needed) == b"its unit is retried in this moment"
    assert admin.head(layout.pin(made.job, other)) is not None
    policy = policies()["housekeeping"]
    used = {grant for sent in kept.sent for grant in policy.granting(sent.action, sent.key)}
    idle = {grant for one in policy.statements for grant in one.grants()} - used
    assert {action for action, _ in idle} <= {"s3:AbortMultipartUpload"}, f"nobody uses {sorted(idle)}"
    for key in (layout.job(made.job), layout.tombstone(gone), layout.active(made.job), layout.run(RUN)):
        with pytest.raises(StoreRefused):
            store.delete(key)


def test_the_language_of_patterns_is_aws() -> None:
    policy = policies()["renderer"]
    assert policy.allows(PUT, layout.shard(JOB, 4096, SHA)), "a star runs over slashes"
    assert not policy.allows(PUT, f"x/jobs/{JOB}/shards/00000/a.tar"), "a pattern begins where the key begins"
    assert not policy.allows(PUT, f"jobs/{JOB}/shards")
