"""The loaders that the trainer's is compared with: how each gets its copy of the job, and its endless batches.

Each runs in a process of its own, which has its packages. A sample is a caption with its four images; all are asked for
the same batches, workers and crops, shuffled, and read ahead as they do by default.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import torch
from loader_chains import Chain, pillow_chain, tensor_chain
from loader_job import VIEWS
from loader_setting import Setting
from minio import Minio
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

__all__ = ["BATCHES", "CONVERT"]

_NAMES = [f"k{k}" for k in range(VIEWS)]
_FOREVER = 1 << 40


def _cut(chain: Chain, files: list[bytes]) -> tuple[Tensor, Tensor]:
    """(views, 3, 224, 224) and (views, 4, 3, 96, 96)"""
    crops = [chain(data) for data in files]
    return torch.stack([whole for whole, _ in crops]), torch.stack([local for _, local in crops])


def _files(setting: Setting, index: int) -> list[bytes]:
    folder = Path(setting.folder) / "files"
    return [(folder / str(k) / f"{index:06d}.jpg").read_bytes() for k in range(VIEWS)]


class _Folders(Dataset[tuple[Tensor, Tensor]]):
    """The files of folders, as the release reads them."""

    def __init__(self, setting: Setting) -> None:
        self._setting, self._chain = setting, pillow_chain()

    def __len__(self) -> int:
        return self._setting.captions

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return _cut(self._chain, _files(self._setting, index))


def _loader(dataset: Any, setting: Setting, **more: Any) -> Any:
    return DataLoader(dataset, batch_size=setting.batch, num_workers=setting.workers, **more)


def _pillow(setting: Setting) -> Iterator[Any]:
    folders = _Folders(setting)
    endless = RandomSampler(folders, replacement=True, num_samples=_FOREVER)
    return iter(_loader(folders, setting, sampler=endless))


def _webdataset(setting: Setting) -> Iterator[Any]:
    import webdataset

    client = Minio(setting.endpoint, setting.access_key, setting.secret_key, secure=False, region="us-east-1")
    objects = client.list_objects(setting.bucket, recursive=True)
    keys = [found.object_name for found in objects if str(found.object_name).endswith(".tar")]
    urls = [client.presigned_get_object(setting.bucket, str(key), timedelta(days=1)) for key in keys]
    chain = tensor_chain()
    samples = webdataset.WebDataset(urls, resampled=True, shardshuffle=False, handler=webdataset.reraise_exception)
    samples = samples.shuffle(64).map(lambda sample: _cut(chain, [sample[f"{k}.jpg"] for k in range(VIEWS)]))
    return iter(_loader(samples, setting))


def _upload(setting: Setting, made: Path, prefix: str) -> None:
    store = setting.store()
    for path in sorted(made.rglob("*")):
        if path.is_file():
            store.put(f"{prefix}/{path.relative_to(made).as_posix()}", path.read_bytes())
    shutil.rmtree(made)


def _to_mds(setting: Setting) -> None:
    from streaming import MDSWriter

    made = Path(setting.folder) / "mds"
    with MDSWriter(out=str(made), columns=dict.fromkeys(_NAMES, "bytes"), size_limit=1 << 24) as writer:
        for index in range(setting.captions):
            writer.write(dict(zip(_NAMES, _files(setting, index), strict=True)))
    _upload(setting, made, "mds")


def _again(loader: Any) -> Iterator[Any]:
    """Epoch after epoch of a loader whose workers stay."""
    for _ in count():
        yield from loader


def _streaming(setting: Setting) -> Iterator[Any]:
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    class Cut(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, at: Any) -> tuple[Tensor, Tensor]:
            sample = super().__getitem__(at)
            return _cut(chain, [sample[name] for name in _NAMES])

    chain = tensor_chain()
    clean_stale_shared_memory()
    cache = Path(setting.folder) / "mds-cache"
    dataset = Cut(remote=f"s3://{setting.bucket}/mds", local=str(cache), shuffle=True, batch_size=setting.batch)
    return _again(_loader(dataset, setting, persistent_workers=True))


def _to_litdata(setting: Setting) -> None:
    from litdata.streaming.writer import BinaryWriter

    made = Path(setting.folder) / "litdata"
    made.mkdir()
    writer = BinaryWriter(str(made), chunk_bytes=1 << 24)
    for index in range(setting.captions):
        writer[index] = dict(zip(_NAMES, _files(setting, index), strict=True))
    writer.done()
    writer.merge()
    _upload(setting, made, "litdata")


def _litdata(setting: Setting) -> Iterator[Any]:
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming import downloader

    # Its fast downloads refuse servers without TLS and have no option for it.
    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True

    class Cut(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, at: Any) -> tuple[Tensor, Tensor]:
            sample = super().__getitem__(at)
            return _cut(chain, [sample[name] for name in _NAMES])

    chain = tensor_chain()
    options = {
        "endpoint_url": f"http://{setting.endpoint}",
        "aws_access_key_id": setting.access_key,
        "aws_secret_access_key": setting.secret_key,
        "region_name": "us-east-1",
    }
    cache = str(Path(setting.folder) / "litdata-cache")
    dataset = Cut(f"s3://{setting.bucket}/litdata", cache_dir=cache, shuffle=True, storage_options=options)
    loader = StreamingDataLoader(
        dataset, batch_size=setting.batch, num_workers=setting.workers, persistent_workers=True
    )
    return _again(loader)


BATCHES: Mapping[str, Callable[[Setting], Iterator[Any]]] = {
    "Pillow chain": _pillow,
    "webdataset": _webdataset,
    "streaming": _streaming,
    "litdata": _litdata,
}
CONVERT: Mapping[str, Callable[[Setting], None]] = {"streaming": _to_mds, "litdata": _to_litdata}
