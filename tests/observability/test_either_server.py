"""The language model's dashboard shows the same of Text Generation Inference, of vLLM and of both.

Names of vLLM: ``vllm/v1/metrics/loggers.py`` of vllm-project/vllm; of Text Generation Inference:
``docs/source/reference/metrics.md`` of huggingface/text-generation-inference.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

TGI, VLLM = 'job="llm-server",instance="tgi:8000"', 'job="llm-server",instance="vllm:8000",engine="0",model_name="m"'
SERIES = {
    "tgi": {
        f"tgi_batch_current_size{{{TGI}}}": "3x20",
        f"tgi_queue_size{{{TGI}}}": "5x20",
        f"tgi_request_generated_tokens_sum{{{TGI}}}": "0+600x20",
        f"tgi_request_input_length_sum{{{TGI}}}": "0+6000x20",
        f'tgi_request_duration_bucket{{{TGI},le="1"}}': "0+0x20",
        f'tgi_request_duration_bucket{{{TGI},le="2"}}': "0+60x20",
        f'tgi_request_duration_bucket{{{TGI},le="+Inf"}}': "0+60x20",
        f'tgi_request_failure{{{TGI},err="overloaded"}}': "0+60x20",
    },
    "vllm": {
        f"vllm:num_requests_running{{{VLLM}}}": "7x20",
        f"vllm:num_requests_waiting{{{VLLM}}}": "11x20",
        f"vllm:generation_tokens_total{{{VLLM}}}": "0+1200x20",
        f"vllm:prompt_tokens_total{{{VLLM}}}": "0+12000x20",
        f'vllm:e2e_request_latency_seconds_bucket{{{VLLM},le="2.5"}}': "0+0x20",
        f'vllm:e2e_request_latency_seconds_bucket{{{VLLM},le="5.0"}}': "0+60x20",
        f'vllm:e2e_request_latency_seconds_bucket{{{VLLM},le="+Inf"}}': "0+60x20",
        f'vllm:request_success_total{{{VLLM},finished_reason="stop"}}': "0+600x20",
        f'vllm:request_success_total{{{VLLM},finished_reason="abort"}}': "0+120x20",
        f'vllm:request_success_total{{{VLLM},finished_reason="error"}}': "0+180x20",
        f"vllm:iteration_tokens_total_count{{{VLLM}}}": "0+240x20",
        f"vllm:prefix_cache_queries_total{{{VLLM}}}": "0+600x20",
        f"vllm:prefix_cache_hits_total{{{VLLM}}}": "0+300x20",
    },
}
OF_TGI, OF_VLLM = '{instance="tgi:8000"}', '{instance="vllm:8000"}'
SHOWN: dict[tuple[str, int], dict[str, dict[str, float]]] = {
    # (panel, target): by which server is there, what is seen.
    ("Batch and queue", 0): {"tgi": {"{}": 3}, "vllm": {"{}": 7}, "both": {"{}": 10}},
    ("Batch and queue", 1): {"tgi": {"{}": 5}, "vllm": {"{}": 11}, "both": {"{}": 16}},
    ("Tokens", 0): {"tgi": {"{}": 10}, "vllm": {"{}": 20}, "both": {"{}": 30}},
    ("Tokens", 1): {"tgi": {"{}": 100}, "vllm": {"{}": 200}, "both": {"{}": 300}},
    # Buckets of two servers differ, and are never added: each has a line of its own.
    ("Duration", 0): {"tgi": {OF_TGI: 1.5}, "vllm": {OF_VLLM: 3.75}, "both": {OF_TGI: 1.5, OF_VLLM: 3.75}},
    ("Refused and failed", 0): {
        "tgi": {'{err="overloaded"}': 1},
        "vllm": {'{err="abort"}': 2, '{err="error"}': 3},
        "both": {'{err="overloaded"}': 1, '{err="abort"}': 2, '{err="error"}': 3},
    },
    ("Forward passes", 0): {"tgi": {}, "vllm": {"{}": 4}, "both": {"{}": 4}},
    ("Prompt tokens not read again", 0): {"tgi": {}, "vllm": {OF_VLLM: 0.5}, "both": {OF_VLLM: 0.5}},
}


def _queries(board: dict[str, Any]) -> dict[tuple[str, int], str]:
    """Of the row about the server's own side."""
    titles = [panel["title"] for panel in board["panels"]]
    panels = board["panels"][titles.index("The server's own side") + 1 :]
    return {
        (panel["title"], number): target["expr"].replace("$__rate_interval", "5m")
        for panel in panels
        for number, target in enumerate(panel["targets"])
    }


@pytest.fixture(scope="module")
def promtool() -> str:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return tool


@pytest.mark.parametrize("there", ["tgi", "vllm", "both"])
def test_what_is_seen(promtool: str, there: str, dashboards: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    queries = _queries(dashboards["llm"])
    assert SHOWN.keys() == queries.keys() - {("Duration", 1)}, "a panel of the row is not asked here"
    series = {**SERIES["tgi"], **SERIES["vllm"]} if there == "both" else SERIES[there]
    asked = [
        {
            "expr": queries[place],
            "eval_time": "10m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in seen[there].items()],
        }
        for place, seen in SHOWN.items()
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": given, "promql_expr_test": asked}],
    }
    # JSON is YAML.
    (tmp_path / "asked.yml").write_text(json.dumps(test))
    command = [promtool, "test", "rules", "asked.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
