"""Proves that watching a farm works: `make observability-proof` (needs Debian's `prometheus`; some minutes).

It starts a farm, and a Prometheus with the shipped configuration, whose targets alone are replaced; makes a job, trains
on it while another job runs; and asks, in mid-work, every query of every dashboard and every alert. It also compares
what the processes really export with docs/09-observability.md. Ends with 1 and the reasons if something is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import yaml
from dashboard_panels import Window
from dashboards_page import NoAnswer
from prometheus_checks import CONFIG, alerts, targets, without_data

from synfarm.cli.demo.options import DemoOptions, job_request
from synfarm.contracts.runs import RunRequest, RunState
from synfarm.local.finding import look
from synfarm.local.ports import HeldPorts
from synfarm.local.stack import Stack, run_stack
from synfarm.sdk import AsyncClient, ClientConfig

ROOT = Path(__file__).resolve().parent.parent
SCRAPE_SECONDS = 2
BOUND_SECONDS = 1500.0


def configuration(targets: dict[str, str]) -> str:
    """The shipped configuration; each job's DNS look-up becomes one address, and scrapes are closer."""
    config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"}
    config["rule_files"] = [str(CONFIG / "alerts.yml")]
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    return str(yaml.safe_dump(config))


async def until(what: str, done: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition.

    Raises:
        SystemExit: it does not come true.
    """
    sys.stderr.write(f"== waiting until {what}\n")
    end = time.monotonic() + BOUND_SECONDS
    while not await done():
        if time.monotonic() > end:
            raise SystemExit(f"not within {BOUND_SECONDS:.0f} s: {what}")
        await asyncio.sleep(1)


async def work(stack: Stack, queries: Callable[[], list[str]], others: Callable[[], list[str]]) -> list[str]:
    """A job, a run on it, and another job beside the run; every query that had no data in the middle of that, and what
    else is wrong then."""
    config = ClientConfig(stack.state.api_url, stack.state.trainer_url, key=stack.key)
    async with AsyncClient(config) as client:
        first = await client.jobs.submit(job_request(DemoOptions(concepts="4", captions=64)))

        async def first_ended() -> bool:
            return (await client.jobs.get(first.job)).state.is_final

        await until("the first job has ended", first_ended)
        second = await client.jobs.submit(job_request(DemoOptions(concepts="8", captions=4000, seed=1)))
        overrides: Any = {"schedule.steps": 20_000, "schedule.warmup_steps": 20, "checkpoint.every_steps": 10}
        run = await client.runs.start(RunRequest(preset="tiny", jobs=(first.job,), overrides=overrides))

        async def at_work() -> bool:
            view, job = await client.runs.get(run.run), await client.jobs.get(second.job)
            if view.state.is_final or job.state.is_final:
                raise SystemExit(f"ended too early: run {view.state.value}, job {job.state.value}")
            return view.state is RunState.RUNNING and view.step > 20 and job.counts.images > 0

        await until("the run and the second job are at work", at_work)
        missing: list[str] = []

        async def all_there() -> bool:
            missing[:] = await asyncio.to_thread(queries)
            return not missing or not await at_work()

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until("every query has data", all_there), 300)
        missing += await asyncio.to_thread(others)
        await client.runs.stop(run.run)
        await client.jobs.cancel(second.job)
        return missing


def unlisted(targets: dict[str, str]) -> list[str]:
    """Metrics that a process exports and the page does not list for it, and the reverse."""
    text = (ROOT / "docs" / "09-observability.md").read_text()
    found = []
    for job, address in targets.items():
        table = text.split(f"<!-- metrics of {job} -->")[1].split("<!--")[0]
        listed = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
        told = httpx.get(f"http://{address}/metrics", trust_env=False).text
        real = {
            name + ("_total" if kind == "counter" and not name.endswith("_total") else "")
            for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", told, re.MULTILINE)
            if not name.endswith("_created")
        }
        found += [f"{job} exports {name}, which docs/09 does not list" for name in sorted(real - listed)]
        found += [f"{job} does not export {name}" for name in sorted(listed - real)]
    return found


@contextlib.asynccontextmanager
async def serving(folder: Path, address: str) -> AsyncIterator[None]:
    """A Prometheus with the folder's configuration, from when it answers.

    Raises:
        SystemExit: it ends before.
    """
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--web.listen-address={address}"]
    command += [f"--storage.tsdb.path={folder / 'tsdb'}", "--log.level=warn"]
    server = await asyncio.create_subprocess_exec(*command)
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:

            async def ready() -> bool:
                if server.returncode is not None:
                    raise SystemExit(f"prometheus has ended with code {server.returncode}; its own lines say why")
                with contextlib.suppress(httpx.HTTPError):
                    return (await client.get("/-/ready")).is_success
                return False

            await until("Prometheus answers", ready)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended on its own
            server.terminate()
        await asyncio.wait_for(server.wait(), 30)


async def prove(output: Path, folder: Path) -> list[str]:
    held = HeldPorts(2)
    own, captions = held.numbers
    extra = {"SYNFARM_CAPTION_WORKER_PORT": str(captions), "SYNFARM_CAPTION_WORKER_HOST": "127.0.0.1"}
    sys.stderr.write("== starting the farm\n")
    async with run_stack(folder / "farm", extra=extra) as stack:
        found = look(folder / "farm").processes
        processes = {process.name: str(process.address) for process in found.processes} if found else {}
        addresses = {
            "caption-api": processes["caption-api"],
            "caption-worker": f"127.0.0.1:{captions}",
            "render-worker": processes["render-worker"],
            "llm-server": processes["llm-server"],
            "trainer": processes["trainer"],
        }
        (folder / "prometheus.yml").write_text(configuration(addresses))
        address = f"127.0.0.1:{own}"
        began = time.time()
        async with serving(folder, address):
            with httpx.Client(base_url=f"http://{address}", timeout=30, trust_env=False) as client:

                def queries() -> list[str]:
                    window = Window(max(began, time.time() - 900), time.time())
                    return without_data(client, window, SCRAPE_SECONDS, output)

                missing = await work(stack, queries, lambda: targets(client)[1] + alerts(client)[1])
        return [*missing, *unlisted(addresses)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("dashboards.html"), help="the page in mid-work")
    given = parser.parse_args()
    if shutil.which("prometheus") is None:
        raise SystemExit("prometheus is not installed (Debian: apt-get install prometheus)")
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    with tempfile.TemporaryDirectory(prefix="synfarm-proof-") as folder:
        try:
            problems = asyncio.run(prove(given.output, Path(folder)))
        except NoAnswer as error:
            raise SystemExit(str(error)) from error
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"{len(problems)} problems; the page is {given.output}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
