"""The end record and the dataset card: what stays of a job and what training reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.jobs import JobSpec, JobState
from synfarm.contracts.manifests import Counts, Ended, ManifestPart, manifest_hash
from synfarm.markdown import as_text
from synfarm.storage.protocol import ObjectStore
from synfarm_caption_api.caption_report.card import captions_section

__all__ = ["card_text", "create_ended", "end_state"]


def end_state(spec: JobSpec, counts: Counts) -> tuple[JobState, str | None]:
    """How a job ends whose units are all committed or dead, by its error budget."""
    if counts.units_dead == 0:
        return JobState.COMPLETED, None
    share = counts.units_dead / spec.units
    reason = f"{counts.units_dead} of {spec.units} units are dead ({share:.2%}); GET /v1/jobs/{spec.job}/failures"
    if share > spec.error_budget:
        return JobState.FAILED, f"{reason}; the error budget is {spec.error_budget:.2%}"
    return JobState.COMPLETED_WITH_ERRORS, reason


def create_ended(
    store: ObjectStore,
    spec: JobSpec,
    generation: int,
    *,
    state: JobState,
    reason: str | None,
    counts: Counts,
    draws: int,
    rejections: Mapping[str, int],
    parts: Sequence[ManifestPart],
) -> Ended:
    """Write the end record, the card before it; the record that is in the store afterwards."""
    ended = Ended(
        job=spec.job,
        generation=generation,
        state=state,
        reason=reason,
        planned=spec.captions,
        counts=counts,
        rejections=dict(sorted(rejections.items())),
        draws=draws,
        parts=tuple(parts),
        manifest_sha256=manifest_hash(parts),
        ended_at=utc_now(),
    )
    key = layout.ended(spec.job, generation)
    if store.head(key) is None:
        card = card_text(spec, ended, captions_section(store, spec, ended))
        store.put(layout.card(spec.job), card.encode(), content_type="text/markdown")
    if store.create(key, ended.to_bytes()):
        return ended
    return Ended.from_bytes(store.get(key))


def card_text(spec: JobSpec, ended: Ended, captions: str = "") -> str:
    """The dataset card, in Markdown. ``captions``: its section on them."""
    render, counts = spec.render, ended.counts
    reasons = ", ".join(f"{name} {count}" for name, count in ended.rejections.items()) or "none"
    model = f"{render.model} @ {render.revision or 'main'}" if render.model else render.renderer
    return f"""# {spec.name}

Synthetic images with their captions, made by synfarm. No real image was used.

| | |
| --- | --- |
| job | `{spec.job}`, generation {ended.generation}, state {ended.state.value} |
| captions | {counts.captions} of {ended.planned} planned; {counts.empty} slots are empty |
| images | {counts.images}: {spec.images_per_caption} per caption, {render.size} px, {render.image_format} |
| bytes | {counts.bytes} |
| units | {counts.units_committed} committed, {counts.units_dead} dead |
| concepts | {as_text(spec.origin)} |
| renderer | {model}, {render.steps} steps, guidance {render.guidance}, sampler {render.sampler} |
| draws of the language model | {ended.draws}; rejected: {reasons} |
| seed | {spec.seed} |
| manifest | {len(ended.parts)} parts, sha256 `{ended.manifest_sha256}` |

The shards are WebDataset tars: `<caption id>.<k>.{render.image_format}` and one `<caption id>.json` a caption group.
Read `manifest/{ended.generation:04d}/` for the shards that count; other files in `shards/` belong to no commit.
Its `.columns.safetensors` have concept, template, number of images and scores of every caption.

{captions}"""
