"""The dataset card of an export: what the images are, and how WebDataset tools read them."""

from __future__ import annotations

from synfarm.contracts.housekeeping import ExportIndex
from synfarm.contracts.jobs import JobSpec
from synfarm.markdown import as_text

__all__ = ["card_text"]


def card_text(spec: JobSpec, index: ExportIndex) -> str:
    """In Markdown."""
    render = spec.render
    model = f"{render.model} @ {render.revision or 'main'}" if render.model else render.renderer
    what = "Synthetic images with their captions, made by synfarm. No real image was used."
    drawn = f"renderer | {model}, {render.steps} steps, guidance {render.guidance}, sampler {render.sampler}"
    again = ", and all that is needed to draw each image again"
    if spec.source is not None:
        what = "Images that were imported into synfarm, not synthetic ones: who may use them, their source must tell."
        drawn, again = f"imported from | {spec.source.kind} {as_text(spec.source.where)}", ""
    source = f"generation {index.generation}, manifest sha256 `{index.manifest_sha256}`"
    if index.partial:
        source = "as far as it had come: the job had not ended"
    return f"""# {spec.name}

{what}

| | |
| --- | --- |
| made by | job `{spec.job}`, {source} |
| captions | {index.captions} |
| images | {index.images}: {index.images_per_caption} per caption, {index.image_size} px, {index.image_format} |
| tars | {len(index.tars)}, {index.bytes} bytes; `index.json` has the sha256 of each |
| concepts | {as_text(spec.origin)} |
| {drawn} |
| seed | {spec.seed} |

Each caption is one sample of WebDataset: `<caption id>.<k>.{render.image_format}` for its images and
`<caption id>.json` with the text and the concept{again}.

```python
import webdataset

for sample in webdataset.WebDataset("{index.urls}", shardshuffle=False).decode("pil"):
    sample["json"]["caption"], sample["0.{render.image_format}"]
```
"""
