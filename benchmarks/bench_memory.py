"""Memory of the caption API (with its feeder) and of the caption worker: a job of 10,000 captions beside 150 million.

Run: ``python benchmarks/bench_memory.py``. Real processes, Redis and S3; the LLM is the one of fixed latency; pictures
are small collages, so that units are committed and the feeder goes on. Flat means that the last columns agree.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
import tempfile
from pathlib import Path

import psutil

from synfarm.concepts import load
from synfarm.contracts.jobs import JobRequest
from synfarm.local.folder import StackFolder
from synfarm.local.process import ProcessSpec
from synfarm.local.stack import Ports, process_specs
from synfarm.local.supervisor import Supervisor
from synfarm.sdk.aio import AsyncClient
from synfarm.sdk.config import ClientConfig
from synfarm.telemetry import configure_logging

_SERVER = Path(__file__).with_name("fixed_latency_llm.py")
_WATCHED = ("caption-api", "caption-worker")
_NEEDED = ("redis", "s3", "llm-server", "render-worker", *_WATCHED)


def _megabytes(supervisor: Supervisor) -> list[float]:
    """Resident memory of the watched processes."""
    pids = [supervisor.pid(name) for name in _WATCHED]
    return [psutil.Process(pid).memory_info().rss / 1e6 if pid else float("nan") for pid in pids]


def _with_fixed_latency(spec: ProcessSpec, port: int) -> ProcessSpec:
    command = (sys.executable, str(_SERVER), "--port", str(port), "--seconds", "0.1")
    # Not asked for its health: it has no such route.
    return dataclasses.replace(spec, command=command, probe=None) if spec.name == "llm-server" else spec


async def _watch(root: Path, captions: int, seconds: float) -> str:
    with StackFolder(root) as folder:
        secrets, ports = folder.secrets(), Ports.free()
        specs = [
            _with_fixed_latency(spec, ports.llm)
            for spec in process_specs(folder, secrets, ports, {"SYNFARM_CAPTION_LLM_MAX_IN_FLIGHT": "256"})
            if spec.name in _NEEDED
        ]
        config = ClientConfig(api_url=f"http://127.0.0.1:{ports.api}", key=secrets.api_key)
        async with Supervisor(specs, folder.logs, restarts=5) as supervisor, AsyncClient(config) as client:
            idle = _megabytes(supervisor)
            request = {
                "concepts": [concept.name for concept in load("collage")],
                "captions": captions,
                "captions_per_unit": 64,
                "images_per_caption": 1,
                "render": {"size": 32},
            }
            view = await client.jobs.submit(JobRequest.model_validate(request))
            peaks = idle
            for _ in range(int(seconds)):
                await asyncio.sleep(1)
                peaks = [max(pair) for pair in zip(peaks, _megabytes(supervisor), strict=True)]
            last, view = _megabytes(supervisor), await client.jobs.get(view.job)
    return "".join(
        f"{captions:>12,} {name:<16}{before:8.0f} {peak:8.0f} {after:8.0f} MB   {view.captions_written:,} written\n"
        for name, before, peak, after in zip(_WATCHED, idle, peaks, last, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0, help="each job is watched for so long")
    parser.add_argument("--captions", type=int, nargs="+", default=[10_000, 150_000_000])
    chosen = parser.parse_args()
    configure_logging("error", "console", process="bench")
    sys.stdout.write(f"{'captions':>12} {'process':<16}{'idle':>8} {'peak':>8} {'last':>8}\n")
    for captions in chosen.captions:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(asyncio.run(_watch(Path(folder) / "farm", captions, chosen.seconds)))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
