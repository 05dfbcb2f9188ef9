"""The object store that `verify`, `gc`, `export`, `backup` work on: named by the environment, or of a stack nearby."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from synfarm.cli.exits import CommandFailed, ExitCode
from synfarm.cli.farm import living_stack, nearby
from synfarm.cli.identify import LATEST, checked_id

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

    from synfarm.settings import StoreSettings
    from synfarm.storage.protocol import ObjectStore

__all__ = ["OpenStore", "StoreFolder", "from_environment", "opened_store"]

S = TypeVar("S", bound="BaseSettings")

StoreFolder = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="SYNFARM_DATA_DIR",
        show_envvar=False,
        help="Folder of a running stack whose store it is; else SYNFARM_STORE_*, else synfarm-data or demo.",
    ),
]


@dataclass(frozen=True, slots=True)
class OpenStore:
    """A store, and how it was found."""

    store: ObjectStore
    settings: StoreSettings
    source: str

    def job(self, text: str) -> str:
        """The id of a job, or of the newest one.

        Raises:
            CommandFailed: it is malformed; or `latest`, and there is none.
        """
        from synfarm.housekeeping.job_record import newest_job

        if text != LATEST:
            return checked_id(text, "job")
        found = newest_job(self.store)
        if found is None:
            raise CommandFailed(f"there is no job in {self.source}.", ExitCode.NOT_FOUND)
        return found

    def run(self, text: str) -> str:
        """The id of a run, or of the newest one.

        Raises:
            CommandFailed: it is malformed; or `latest`, and there is none.
        """
        from synfarm.contracts import layout

        if text != LATEST:
            return checked_id(text, "run")
        found = max(self.store.list_folders(layout.runs_prefix()), default=None)
        if found is None:
            raise CommandFailed(f"there is no run in {self.source}.", ExitCode.NOT_FOUND)
        return found


@contextmanager
def opened_store(data_dir: Path | None) -> Iterator[OpenStore]:
    """The store; what goes wrong with it is told with who named it.

    The bucket is not made: a store without one is the wrong store.

    Raises:
        CommandFailed: none is named and no stack lives, or it does not answer, or refuses.
    """
    from synfarm.housekeeping.backup.shelf import BackupFailed, BackupRefused
    from synfarm.housekeeping.exporting.destination import DestinationFailed, ExportRefused
    from synfarm.housekeeping.exporting.export import ExportFailed
    from synfarm.housekeeping.job_record import NoSuchJob
    from synfarm.storage.manifest_reader import ManifestDamaged
    from synfarm.storage.minio_store import MinioStore
    from synfarm.storage.protocol import StoreError, StoreUnavailable

    settings, source = _settings(data_dir)
    try:
        yield OpenStore(MinioStore(settings), settings, source)
    except StoreUnavailable as error:
        told = f"the object store at {settings.endpoint} does not answer: {error}. The address is that of {source}."
        raise CommandFailed(told, ExitCode.UNREACHABLE) from error
    except NoSuchJob as error:
        raise CommandFailed(f"{error} Looked in {source}.", ExitCode.NOT_FOUND) from error
    except DestinationFailed as error:
        raise CommandFailed(str(error), ExitCode.UNREACHABLE) from error
    except (ExportRefused, BackupRefused) as error:
        raise CommandFailed(str(error), ExitCode.REFUSED) from error
    except (ManifestDamaged, ExportFailed, BackupFailed) as error:
        raise CommandFailed(str(error)) from error
    except StoreError as error:
        told = f"the object store at {settings.endpoint} refuses: {error}. Correct {source}."
        raise CommandFailed(told, ExitCode.REFUSED) from error


def from_environment(kind: type[S]) -> S:
    """Settings as the environment has them.

    Raises:
        CommandFailed: a variable does not fit; names it.
    """
    from pydantic import ValidationError

    from synfarm.contracts.wording import in_words

    try:
        return kind()
    except ValidationError as error:
        name = "_".join(map(str, error.errors()[0]["loc"])).upper()
        told = f"{kind.model_config.get('env_prefix', '')}{name}: {in_words(error)}."
        raise CommandFailed(told, ExitCode.REFUSED) from error


def _settings(data_dir: Path | None) -> tuple[StoreSettings, str]:
    from pydantic import SecretStr

    from synfarm.settings import StoreSettings

    named = any(name.startswith("SYNFARM_STORE_") and value for name, value in os.environ.items())
    if named and data_dir is None:
        return from_environment(StoreSettings), "SYNFARM_STORE_*"
    if data_dir is None and not any(found.lives for found in nearby(None)):
        looked = " and ".join(str(found.folder.root) for found in nearby(None))
        raise CommandFailed(
            f"no object store found: SYNFARM_STORE_ENDPOINT is not set, and no stack runs in {looked}. "
            "Start one with `synfarm up`, or set SYNFARM_STORE_ENDPOINT, _ACCESS_KEY, _SECRET_KEY and _BUCKET.",
            ExitCode.UNREACHABLE,
        )
    found = living_stack(data_dir)
    if found.state is None:
        told = f"the stack in {found.folder.root} is not ready yet; `synfarm status` shows it."
        raise CommandFailed(told, ExitCode.UNREACHABLE)
    secrets = found.folder.kept_secrets()
    # Not by the environment: its prefix and bucket are another store's.
    settings = StoreSettings.model_construct(
        **{name: field.default for name, field in StoreSettings.model_fields.items()}
        | {
            "endpoint": found.state.store_endpoint,
            "access_key": SecretStr(secrets.s3_access_key),
            "secret_key": SecretStr(secrets.s3_secret_key),
            "bucket": found.state.bucket,
        }
    )
    return settings, f"the stack in {found.folder.root}"
