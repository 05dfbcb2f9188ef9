"""The report on the captions as a part of the dataset card."""

from __future__ import annotations

from synfarm.contracts.caption_reports import CaptionReport, ConceptCount
from synfarm.contracts.jobs import JobSpec
from synfarm.contracts.manifests import Ended
from synfarm.markdown import as_text
from synfarm.storage.protocol import ObjectStore
from synfarm_caption_api.caption_report.reporter import report_at_end

__all__ = ["captions_section", "section_of"]


def captions_section(store: ObjectStore, spec: JobSpec, ended: Ended) -> str:
    """The section, in Markdown; reads at most 512 objects of captions."""
    return section_of(report_at_end(store, spec, ended))


def section_of(report: CaptionReport) -> str:
    """The section of a report that is there already."""
    sample, near = report.sample, report.near_duplicates
    rows = {
        "kept": f"{report.written} of {report.draws} texts"
        + ("" if report.acceptance is None else f" ({report.acceptance:.1%})"),
        "refused": ", ".join(f"{reason} {count}" for reason, count in report.rejections.items()) or "none",
        "empty slots": str(report.empty),
    }
    if report.words is not None and report.distinct is not None:
        d = report.distinct
        rows["words"] = f"mean {report.words.mean}, median {report.words.median}, 95 % have at most {report.words.p95}"
        rows["distinct-1, -2, -3"] = f"{d.distinct_1}, {d.distinct_2}, {d.distinct_3} over {d.captions} captions"
    rows["concepts"] = f"{report.concepts.kept} of {report.concepts.planned}, evenness {report.concepts.evenness}"
    if report.concepts.hardest:
        rows["hardest for the model"] = ", ".join(map(_told, report.concepts.hardest[:5]))
    for template, count in report.templates.items():
        named = "" if count.second_named is None else f", second field taken up by {count.second_named:.0%}"
        rows[f"template `{template}`"] = f"{count.kept} captions from {count.draws} texts{named}"
    rows["near duplicates across units"] = f"{near.share:.2%} of {near.captions} captions compared" + (
        ""
        if near.twins_at_most is None
        else f"; expected in the whole job for each caption: {near.twins_per_caption} (at most {near.twins_at_most})"
    )
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""## Captions

Rows below the third are of a sample: {sample.kept} captions of {sample.units} units, spread over {sample.of_units}.

| | |
| --- | --- |
{lines}
"""


def _told(count: ConceptCount) -> str:
    return f"{as_text(count.concept)} ({count.kept} of {count.draws})"
