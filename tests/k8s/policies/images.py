"""Images are named by a version that stays."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.manifests import Manifests


def pinned_images(manifests: Manifests) -> Iterator[str]:
    """A tag or a digest, and never the tag that moves."""
    for workload in manifests.workloads:
        for container in workload.containers:
            image = container.get("image", "")
            tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
            if not image or (not tag and "@sha256:" not in image):
                yield f"{workload.name}: {container['name']}: image {image!r} has no tag"
            elif tag == "latest":
                yield f"{workload.name}: {container['name']}: image {image!r} is another one tomorrow"
