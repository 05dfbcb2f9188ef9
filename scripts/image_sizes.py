"""`make image-sizes`: how large images are on a disk and in a registry, and which of their layers make them so.

    python3 scripts/image_sizes.py                         # the four of docker-compose.yml, as built
    python3 scripts/image_sizes.py synfarm/render-worker-gpu:dev redis:7

Read from `docker save`. Compressed is what gzip at its usual level makes of each layer, as a push does. A layer that
several images share is counted in each of them, and once in the last line. A layer is called what the image's history
calls it, and BuildKit (seen with Docker 28.2) may give it the words of another stage that begins alike. Python's own
library is all that it needs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import dirname, join, normpath
from typing import IO, Any

OURS = ("caption-api", "render-worker", "trainer", "llm-server")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SHOWN = 3
_WIDTH = 60


class Unreadable(RuntimeError):
    """What `docker save` gave cannot be measured; the message says why."""


@dataclass(frozen=True)
class Layer:
    """Bytes of one layer, and the instruction that made it."""

    digest: str
    unpacked: int
    compressed: int
    made_by: str


@dataclass(frozen=True)
class Blob:
    """One file of `docker save`; ``text`` if it may be JSON."""

    unpacked: int
    compressed: int
    text: bytes


def read_blob(file: IO[bytes]) -> Blob:
    """Sizes of a layer, whichever way round the engine keeps it.

    Raises:
        Unreadable: it is compressed in a form that is not known here.
    """
    first = file.read(1 << 20)
    if first.startswith(_ZSTD):
        raise Unreadable("a layer is compressed with zstd; measure on an engine that keeps gzip or plain layers")
    packed = first.startswith(_GZIP)
    machine: Any = zlib.decompressobj(31) if packed else zlib.compressobj(6, zlib.DEFLATED, 31)
    feed = machine.decompress if packed else machine.compress
    there = other = 0
    piece = first
    while piece:
        there += len(piece)
        other += len(feed(piece))
        piece = file.read(1 << 20)
    other += len(machine.flush())
    text = first if there <= len(first) else b""
    return Blob(other, there, text) if packed else Blob(there, other, text)


def measure(stream: IO[bytes]) -> dict[str, list[Layer]]:
    """The layers of each image in what `docker save` writes, by its name.

    Raises:
        Unreadable
    """
    blobs: dict[str, Blob] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.issym():  # a layer that stands there already, for another image
                links[member.name] = normpath(join(dirname(member.name), member.linkname))
            elif member.isfile() and (content := archive.extractfile(member)) is not None:
                blobs[member.name] = read_blob(content)
    if "manifest.json" not in blobs:
        raise Unreadable("there is no manifest.json in it")
    images: dict[str, list[Layer]] = {}
    for entry in json.loads(blobs["manifest.json"].text):
        config = json.loads(blobs[entry["Config"]].text)
        instructions = [step.get("created_by", "") for step in config["history"] if not step.get("empty_layer")]
        if len(instructions) != len(entry["Layers"]):  # an imported image tells nothing of its layers
            instructions = [""] * len(entry["Layers"])
        paths = [links.get(path, path) for path in entry["Layers"]]
        if missing := [path for path in paths if path not in blobs]:
            raise Unreadable(f"the layer {missing[0]} is not in it")
        layers = [
            Layer(path, blobs[path].unpacked, blobs[path].compressed, in_words(made_by))
            for path, made_by in zip(paths, instructions, strict=True)
        ]
        for name in entry["RepoTags"] or [entry["Config"]]:
            images[name] = layers
    return images


def in_words(made_by: str) -> str:
    """An instruction in a few words: without its shell, arguments and mounts."""
    text = re.sub(r"^RUN (\|\d+ .*? )?/bin/sh -c |--mount=\S+|# buildkit$", "", made_by)
    text = " ".join(text.split())
    if not text:
        return "base"
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def table(images: dict[str, list[Layer]]) -> str:
    """A Markdown table, and under it what all take together."""
    lines = ["| image | unpacked | compressed | largest layers, unpacked |", "| --- | --- | --- | --- |"]
    for name, layers in images.items():
        largest = sorted(layers, key=lambda layer: -layer.unpacked)[:_SHOWN]
        shown = "; ".join(f"{size(layer.unpacked)} `{layer.made_by.replace('|', ' ')}`" for layer in largest)
        unpacked, compressed = (sum(getattr(layer, kind) for layer in layers) for kind in ("unpacked", "compressed"))
        lines.append(f"| `{name}` | {size(unpacked)} | {size(compressed)} | {shown} |")
    once = {layer.digest: layer for layers in images.values() for layer in layers}.values()
    unpacked, compressed = (sum(getattr(layer, kind) for layer in once) for kind in ("unpacked", "compressed"))
    lines.append(f"| all, shared layers once | {size(unpacked)} | {size(compressed)} | |")
    return "\n".join(lines)


def size(count: int) -> str:
    """Bytes as people write them."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def main(names: Sequence[str]) -> int:
    images = list(names) or [f"synfarm/{name}:dev" for name in OURS]
    with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        try:
            found = measure(saving.stdout)
        except (Unreadable, tarfile.TarError) as error:
            saving.kill()
            sys.stderr.write(f"image-sizes: {error}; are these images there? {', '.join(images)}\n")
            return 1
    if saving.returncode:
        return 1
    sys.stdout.write(table(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
