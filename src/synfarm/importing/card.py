"""The dataset card of an imported job."""

from __future__ import annotations

from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Ended
from synfarm.markdown import as_text

__all__ = ["card_text"]


def card_text(spec: JobSpec, ended: Ended) -> str:
    """In Markdown."""
    assert spec.source is not None
    counts, render = ended.counts, spec.render
    where = as_text(spec.source.where)
    classes = as_text(", ".join(concept.name for concept in spec.concepts[:8])) or "none"
    more = f" and {len(spec.concepts) - 8} more" if len(spec.concepts) > 8 else ""
    return f"""# {spec.name}

Images that were imported into synfarm. They are not synthetic: who may use them, their source must tell.

| | |
| --- | --- |
| job | `{spec.job}`, state {ended.state.value} |
| imported from | {spec.source.kind} {where} |
| images | {counts.images} of {ended.planned} files; {counts.empty} could not be read |
| stored as | {render.image_format}, sides up to {render.size} px; files that were so are kept byte for byte |
| bytes | {counts.bytes} |
| classes | {len(spec.concepts)}: {classes}{more} |
| manifest | {len(ended.parts)} parts, sha256 `{ended.manifest_sha256}` |

The shards are WebDataset tars: `<caption id>.0.{render.image_format}` and one `<caption id>.json` an image, whose
`scenes` name the file that it came from. Read `manifest/{ended.generation:04d}/` for the shards that count.
"""
