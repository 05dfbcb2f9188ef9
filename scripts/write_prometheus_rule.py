"""Write k8s/components/monitoring/rules.yaml: compose's alert rules as an object of the Prometheus operator.

A PrometheusRule holds the groups of a rule file as they are (``PrometheusRuleSpec`` in pkg/apis/monitoring/v1 of
prometheus-operator/prometheus-operator), but kustomize cannot put a file's structure into an object.
"""

from __future__ import annotations

import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
RULES = REPO / "deploy" / "observability" / "prometheus" / "alerts.yml"
WRITTEN = REPO / "k8s" / "components" / "monitoring" / "rules.yaml"
_HEAD = """# Written by scripts/write_prometheus_rule.py: change deploy/observability/prometheus/alerts.yml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: synfarm, namespace: synfarm}
spec:
"""


def prometheus_rule(rules: str) -> str:
    """The object around a rule file's text, whose own comments stay.

    Raises:
        ValueError: the text is no mapping with ``groups`` at its left edge.
    """
    if "groups:" not in rules.splitlines():
        raise ValueError(f"{RULES.relative_to(REPO)}: a line 'groups:' is missing")
    return _HEAD + "".join(f"  {line}".rstrip() + "\n" for line in rules.splitlines())


def main() -> int:
    WRITTEN.write_text(prometheus_rule(RULES.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
