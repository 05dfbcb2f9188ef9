"""What a render worker is measured against: loops over diffusers without a farm, as child processes.

``python diffusers_loops.py plain|tuned <JSON of LoopSettings>``: for each line ``{"units": [[caption, …], …]}`` of
stdin it draws, encodes and uploads the units and answers with one line of JSON.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import tarfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store

__all__ = ["LoopSettings"]


@dataclasses.dataclass(frozen=True, slots=True)
class LoopSettings:
    """The same for the worker and for both loops, but for the tuned loop's batch."""

    model: str
    device: str
    dtype: str
    size: int
    """Side drawn and stored, px."""
    steps: int
    guidance: float
    batch: int
    images_per_caption: int
    quality: int


def _pipeline(settings: LoopSettings, *, tuned: bool) -> Any:
    import torch
    from diffusers import AutoPipelineForText2Image, DDIMScheduler

    pipe: Any = AutoPipelineForText2Image.from_pretrained(
        settings.model, dtype=getattr(torch, settings.dtype), use_safetensors=True
    )
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    pipe = pipe.to(settings.device)
    if tuned:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
        if settings.device == "cuda":
            pipe.unet = torch.compile(pipe.unet, mode="max-autotune-no-cudagraphs")
    return pipe


def _jpeg(image: Any, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()


def _tar(files: Sequence[bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number, data in enumerate(files):
            info = tarfile.TarInfo(f"{number:06d}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Loop:
    """The plain loop does one thing after the other; the tuned one encodes and uploads in threads."""

    def __init__(self, settings: LoopSettings, *, tuned: bool) -> None:
        self._settings, self._tuned, self._batch = settings, tuned, settings.batch
        self._pipe = _pipeline(settings, tuned=tuned)
        self._store = open_store(StoreSettings())
        self._threads = ThreadPoolExecutor(3)
        self._done = 0
        if tuned:
            self._batch = self._best_batch()

    def _draw(self, prompts: Sequence[str], first: int) -> list[Any]:
        import torch

        made: Any = self._pipe(
            prompt=list(prompts),
            negative_prompt=[""] * len(prompts),
            generator=[torch.Generator("cpu").manual_seed(first + i) for i in range(len(prompts))],
            num_inference_steps=self._settings.steps,
            guidance_scale=self._settings.guidance,
            height=self._settings.size,
            width=self._settings.size,
        )
        return list(made.images)

    def _best_batch(self) -> int:
        rates = {}
        for batch in (1, 2, 4, 8, 16, 32, 64) if self._settings.device == "cuda" else (1, 2, 4, 8):
            prompts = ["a dog in the morning light"] * batch
            self._draw(prompts, 0)
            began = time.monotonic()
            self._draw(prompts, 0)
            rates[batch] = batch / (time.monotonic() - began)
        return max(rates, key=lambda batch: rates[batch])

    def run(self, units: Sequence[Sequence[str]]) -> dict[str, float]:
        began, cpu, images, drawing = time.monotonic(), time.process_time(), 0, 0.0
        waiting = []
        for captions in units:
            prompts = [caption for caption in captions for _ in range(self._settings.images_per_caption)]
            files: list[Any] = []
            for start in range(0, len(prompts), self._batch):
                at = time.monotonic()
                drawn = self._draw(prompts[start : start + self._batch], images)
                drawing += time.monotonic() - at
                images += len(drawn)
                encode = partial(_jpeg, quality=self._settings.quality)
                files += [self._threads.submit(encode, i) for i in drawn] if self._tuned else map(encode, drawn)
            self._done += 1
            if self._tuned:
                waiting.append(self._threads.submit(self._upload, self._done, files))
            else:
                self._upload(self._done, files)
        for one in waiting:
            one.result()
        seconds = time.monotonic() - began
        spent = {"seconds": seconds, "cpu": time.process_time() - cpu, "drawing": drawing}
        return {**spent, "images": images, "batch": self._batch}

    def _upload(self, number: int, files: Sequence[Any]) -> None:
        data = [file if isinstance(file, bytes) else file.result() for file in files]
        self._store.put(f"loop/{self._tuned:d}/{number}.tar", _tar(data))


def main() -> None:
    loop = Loop(LoopSettings(**json.loads(sys.argv[2])), tuned=sys.argv[1] == "tuned")
    loop.run([["a dog"]])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(loop.run(json.loads(line)["units"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
