"""Where an export may go, and whose fault it is when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from synfarm.housekeeping.exporting.destination import BucketDestination, DestinationFailed, ExportRefused
from synfarm.housekeeping.exporting.opening import bucket_of, open_destination
from synfarm.settings import ExportSettings, StoreSettings
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreUnavailable


@pytest.mark.integration
def test_the_farm_s_own_objects_are_those_below_its_prefix(store_settings: StoreSettings) -> None:
    own = store_settings.model_copy(update={"bucket": "synfarm", "prefix": "farm"})
    with pytest.raises(ExportRefused, match="among the farm's own objects"):
        open_destination("s3://synfarm/farm/jobs/mine", own, ExportSettings())
    open_destination("s3://synfarm/jobs/mine", own, ExportSettings())


@pytest.mark.parametrize(
    ("given", "trusted"),
    [
        (ExportSettings(), Path("farm.pem")),
        (ExportSettings(access_key=SecretStr("other")), Path("farm.pem")),
        (ExportSettings(endpoint="127.0.0.1:9000", secure=False), None),
        (ExportSettings(endpoint="s3.example.org"), None),
        (ExportSettings(endpoint="s3.example.org", ca_file=Path("theirs.pem")), Path("theirs.pem")),
    ],
)
def test_the_farm_s_authority_proves_the_farm_s_server_alone(given: ExportSettings, trusted: Path | None) -> None:
    """Else a server without TLS, or one whose certificate anybody trusts, could not be named by a farm that has one."""
    farm = StoreSettings(endpoint="store.farm:9000", secure=True, ca_file=Path("farm.pem"))
    assert bucket_of("s3://elsewhere/x", farm, given).ca_file == trusted


def test_a_destination_that_fails_is_not_taken_for_the_store_that_is_read() -> None:
    there = MemoryStore()
    destination = BucketDestination(there, "s3://elsewhere/x")

    def away(operation: str, key: str) -> None:
        raise StoreUnavailable("no answer")

    there.fault = away
    for use in (
        lambda: destination.size("a"),
        lambda: destination.read("a", 0, 1),
        lambda: list(destination.names("a")),
        lambda: destination.remove("a"),
        lambda: _write(destination),
    ):
        with pytest.raises(DestinationFailed, match="the destination s3://elsewhere/x failed: no answer"):
            use()


def _write(destination: BucketDestination) -> None:
    with destination.writing("a") as file:
        file.write(b"x")
