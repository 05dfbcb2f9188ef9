"""What every contestant of ``bench_loader.py`` is told, in a file: where the job is, and how much to work with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import SecretStr

from synfarm.contracts.runs import DatasetRef
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectStore

__all__ = ["Setting"]


@dataclass(frozen=True)
class Setting:
    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    """Of a server that lives as long as the benchmark."""
    folder: str
    """For local files: the release's copy of the job, rivals' caches."""
    dataset: str
    """A DatasetRef as JSON."""
    captions: int
    batch: int
    """Captions in a batch."""
    workers: int
    """Threads or processes that decode and cut."""

    @classmethod
    def read(cls, path: Path) -> Setting:
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)))

    @property
    def ref(self) -> DatasetRef:
        return DatasetRef.from_bytes(self.dataset.encode())

    def store(self) -> ObjectStore:
        return open_store(
            StoreSettings(
                endpoint=self.endpoint,
                bucket=self.bucket,
                access_key=SecretStr(self.access_key),
                secret_key=SecretStr(self.secret_key),
            )
        )
