"""How fast the caption API answers: POST of a job of 150M captions, and GET of a job at a steady rate, on one core.

Needs `hey` (Debian: apt-get install hey), a public load generator with a fixed rate. The API runs as it is deployed,
in a process of its own that is held to one core, over a local Redis and S3 server.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console

from synfarm.local.ports import HeldPorts
from synfarm.local.servers import LocalRedis, LocalS3

CAPTIONS = 150_000_000
BODY = {"concepts": ["dog", "cat", "red fox"], "captions": CAPTIONS}


def _start(redis: LocalRedis, s3: LocalS3, port: int, core: int) -> subprocess.Popen[bytes]:
    store = s3.settings("bench")
    environment = {
        **os.environ,
        "SYNFARM_AUTH": "off",
        "SYNFARM_LOG_LEVEL": "error",
        "SYNFARM_REDIS_URL": redis.url(database=0),
        "SYNFARM_STORE_ENDPOINT": store.endpoint,
        "SYNFARM_STORE_ACCESS_KEY": store.access_key.get_secret_value(),
        "SYNFARM_STORE_SECRET_KEY": store.secret_key.get_secret_value(),
        "SYNFARM_STORE_BUCKET": store.bucket,
        "SYNFARM_STORE_PREFIX": store.prefix,
        "SYNFARM_CAPTION_PORT": str(port),
    }

    def pin() -> None:
        os.sched_setaffinity(0, {core})

    return subprocess.Popen([sys.executable, "-m", "synfarm_caption_api"], env=environment, preexec_fn=pin)


def _post(url: str, count: int) -> list[float]:
    seconds = []
    with httpx.Client(base_url=url, timeout=30) as client:
        for number in range(count):
            began = time.perf_counter()
            answer = client.post("/v1/jobs", json={**BODY, "seed": number}, headers={"Idempotency-Key": str(number)})
            seconds.append(time.perf_counter() - began)
            answer.raise_for_status()
            client.post(f"/v1/jobs/{answer.json()['job']}/cancel")
    return seconds


def _load(url: str, rate: int, seconds: int) -> tuple[list[float], dict[str, int]]:
    """Seconds of each answer, and answers by status, at so many requests a second over 20 connections."""
    each = max(1, rate // 20)
    command = ["hey", "-z", f"{seconds}s", "-c", "20", "-q", str(each), "-o", "csv", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    statuses: dict[str, int] = {}
    for row in rows:
        statuses[row["status-code"]] = statuses.get(row["status-code"], 0) + 1
    return [float(row["response-time"]) for row in rows], statuses


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far: says what a request costs, however busy the machine is."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _row(what: str, seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"| {what} | {len(seconds)} | {cuts[49] * 1e3:.1f} | {cuts[98] * 1e3:.1f} | {max(seconds) * 1e3:.1f} |"


def main() -> str | None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=300, help="requests a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--posts", type=int, default=200)
    options = parser.parse_args()
    if shutil.which("hey") is None:
        return "bench_api needs `hey`: apt-get install hey"
    core = sorted(os.sched_getaffinity(0))[0]
    with tempfile.TemporaryDirectory() as folder:
        redis, s3 = LocalRedis.start(Path(folder) / "redis"), LocalS3.start(Path(folder) / "s3")
        held = HeldPorts(1)
        port = held.numbers[0]
        api = _start(redis, s3, port, core)
        url = f"http://127.0.0.1:{port}"
        try:
            until = time.monotonic() + 120
            while True:
                try:
                    httpx.get(f"{url}/healthz").raise_for_status()
                    break
                except httpx.HTTPError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.2)
            time.sleep(5)  # the concept sets are loaded in the background
            posts = _post(url, options.posts)
            job = httpx.post(f"{url}/v1/jobs", json={**BODY, "captions": 4000}).json()["job"]
            time.sleep(3)
            spent = _cpu_seconds(api.pid)
            gets, statuses = _load(f"{url}/v1/jobs/{job}", options.rate, options.seconds)
            spent = (_cpu_seconds(api.pid) - spent) / len(gets)
        finally:
            api.terminate()
            api.wait(timeout=30)
            s3.server.kill()
            redis.server.kill()
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print("| call | requests | p50 ms | p99 ms | max ms |\n| --- | ---: | ---: | ---: | ---: |")
    console.print(_row(f"POST /v1/jobs, {CAPTIONS:,} captions", posts))
    console.print(_row(f"GET /v1/jobs/{{id}}, {len(gets) / options.seconds:.0f} requests a second", gets))
    console.print(f"\nAnswers by status: {json.dumps(statuses)}; {spent * 1e3:.2f} ms of CPU a GET, the feeder's")
    console.print(f"passes included; the API on core {core} of {os.cpu_count()} alone, everything else beside it.")
    return None


if __name__ == "__main__":
    sys.exit(main())
