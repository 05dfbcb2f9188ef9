"""docs/09 lists what the services export, and nothing that they export can grow without bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BOUNDED = {
    # By the code: enumerations, routes and statuses of the API, terms of objectives, kinds.
    "capability", "device", "err", "eval", "kind", "le", "method", "monitor", "of", "outcome", "part", "prefetched",
    "queue", "reason", "route", "serves", "stage", "state", "status", "term",
    # By the installation: its language-model servers, and the runs that go on now.
    "run", "server",
}  # fmt: skip


def test_the_page_lists_what_is_exported(page_script: dict[str, Any]) -> None:
    page: Path = page_script["PAGE"]
    text = page.read_text(encoding="utf-8")
    assert page_script["page_with_tables"](text) == text, "run `make metrics-page`"


def test_names_labels_and_words(exported: dict[str, list[Any]]) -> None:
    for service, metrics in exported.items():
        names = [metric.name for metric in metrics]
        assert len(set(names)) == len(names), service
        for metric in metrics:
            assert set(metric.labels) <= BOUNDED, f"{metric.name} of {service}: a label that may grow without bound"
            assert metric.words.endswith(".") or service == "llm-server", metric.name
            assert metric.name.startswith(("synfarm_", "tgi_", "llm_")), metric.name
