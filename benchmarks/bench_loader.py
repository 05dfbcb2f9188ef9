"""Training-ready images a second: the trainer's loader beside four others, by turns in one run.

Run: ``make bench-loader``. Every contestant is a process of its own with its own packages, reads one job (512-pixel
JPEGs, four a caption) from one S3 server of this machine, with as many threads or processes as there are cores, and
makes of each image one global crop of 224 pixels and four local ones of 96 with all of SynCLR's augmentation. Bytes of
the trainer's are the same in ``data.cutting`` plain and compiled; it also draws masks and dropped branches and hashes
its batches.

Three parts: ``speed``; ``memory`` (does the loader's process grow?); ``wait`` (how long a step waits that takes images
at the rate of one H200, brought down to this machine's cores). Medians of the turns with an interval from order
statistics that covers the true one with a probability of at least 95 %; ratios are taken turn by turn. Other work on
the machine lengthens seconds; processor time it hardly does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from intervals import interval, slope
from loader_children import Child, ChildFailed, child
from loader_job import VIEWS, jpegs, write_files, write_job
from loader_setting import Setting
from loader_sides import OURS, PLAIN, SIDES
from rich.console import Console
from rich.table import Table

from synfarm.local.servers import LocalS3
from synfarm.storage.minio_store import open_store

BUILD = Path(__file__).parents[1] / "build" / "bench"
H200_RATE, H200_CORES = 1390.0, 16
"""Images a second of ViT-B/16 with local crops at 40 % of what an H200 reaches, and the cores that come with one."""
RIVALS = [name for name, side in SIDES.items() if side.rival]
PARTS = ("speed", "memory", "wait")


@dataclass
class Turns:
    rates: list[float] = field(default_factory=list)
    """Images a second."""
    cpu: list[float] = field(default_factory=list)
    """Processor seconds an image, of all its processes."""
    main: list[float] = field(default_factory=list)
    """The same of the thread that takes the batches."""


def measure(children: Mapping[str, Child], turns: int, seconds: float) -> dict[str, Turns]:
    """Every turn takes all contestants, in an order that rotates; a first one that does not count fills caches."""
    names, found = list(children), {name: Turns() for name in children}
    for turn in range(-1, turns):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            one, before = children[name], children[name].cpu()
            told = one.ask("run", seconds=seconds)
            one.settle()
            # What was read ahead before the turn is as much as what is read ahead after it.
            rate, cpu = told["images"] / told["seconds"], (one.cpu() - before) / (told["images"] + told["discarded"])
            sys.stderr.write(
                f"turn {turn + 1} of {turns}: {name} {rate:.0f} images/s, CPU {1e3 * cpu:.2f} ms an image\n"
            )
            if turn >= 0:
                found[name].rates.append(rate)
                found[name].cpu.append(cpu)
                found[name].main.append(told["main_cpu"] / told["images"])
    return found


def summary(found: Mapping[str, Turns]) -> dict[str, dict[str, Any]]:
    """By contestant; ratios above 1 are in favour of the trainer's loader."""
    ours, rows = found[OURS], {}
    for name, its in found.items():
        rate, *ends = interval(its.rates)
        # Turn by turn: what disturbs the machine for minutes disturbs both sides of a ratio.
        ratio, *ratio_ends = interval([mine / other for mine, other in zip(ours.rates, its.rates, strict=True)])
        cpu, *cpu_ends = interval([other / mine for mine, other in zip(ours.cpu, its.cpu, strict=True)])
        rows[name] = {
            "images_per_second": rate,
            "interval": ends,
            "ratio": ratio,
            "ratio_interval": ratio_ends,
            "cpu_ms": 1e3 * statistics.median(its.cpu),
            "cpu_ratio": cpu,
            "cpu_ratio_interval": cpu_ends,
            "main_ms": 1e3 * statistics.median(its.main),
        }
    return rows


def goals(rows: Mapping[str, Mapping[str, Any]], key: str = "ratio") -> dict[str, float]:
    """How many times the Pillow chain, and the best of the other rivals, where they took part."""
    others = [rows[name][key] for name in rows if SIDES[name].rival and name != "Pillow chain"]
    found = {"pillow": rows["Pillow chain"][key]} if "Pillow chain" in rows else {}
    return {**found, **({"best_other": min(others)} if others else {})}


def headroom(each: float) -> float:
    """How many times an H200's rate its cores would make, of which each makes ``each`` images a second."""
    return each * H200_CORES / H200_RATE


def growth(images: Sequence[float], memory: Sequence[float]) -> tuple[float, float]:
    """MB for 10,000 images and two standard errors; the first tenth, in which caches fill, does not count."""
    begun = next(place for place, done in enumerate(images) if done >= images[-1] / 10)
    per_image, error = slope(images[begun:], memory[begun:])
    return 1e4 * per_image, 1e4 * error


def _range(ends: Sequence[float], digits: int) -> str:
    return f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def show(console: Console, title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    names = ("", "images/s", "95 %", "times this", "95 %", "CPU ms an image", "times this", "95 %", "reads", "crops")
    table = Table(*names, title=title)
    for name, row in rows.items():
        cells = [f"{row['images_per_second']:.0f}", _range(row["interval"], 0)]
        cells += [f"{row['ratio']:.2f}", _range(row["ratio_interval"], 2), f"{row['cpu_ms']:.2f}"]
        cells += [f"{row['cpu_ratio']:.2f}", _range(row["cpu_ratio_interval"], 2)]
        table.add_row(name, *cells, SIDES[name].reads, SIDES[name].crops)
    console.print(table)
    for of, (key, wanted) in {"the Pillow chain": ("pillow", 3.0), "the best other": ("best_other", 1.5)}.items():
        reached, by_cpu = goals(rows), goals(rows, "cpu_ratio")
        if key in reached:
            console.print(f"{reached[key]:.2f} times {of} (wanted: {wanted}); by processor time {by_cpu[key]:.2f}")


class Bench:
    def __init__(self, options: argparse.Namespace, console: Console, folder: Path, told: Path) -> None:
        self._options, self._console, self._told, self._folder = options, console, told, folder
        self._setting = Setting.read(told)

    def _contestants(self) -> list[str]:
        names = [OURS, *([PLAIN] if self._options.plain else [])]
        for name in RIVALS:
            package = SIDES[name].package
            if self._options.only and name not in self._options.only:
                continue
            if not package or find_spec(package) or (BUILD / name / package).is_dir():
                names.append(name)
            else:
                self._console.print(f"{name} is not installed (`make bench-loader` brings it): its row is left out")
        return names

    def _child(self, name: str, **overrides: object) -> Any:
        form = {"data.cutting": "plain"} if name == PLAIN else {}
        of = OURS if name == PLAIN else name
        paths = [BUILD / name] if (BUILD / name).is_dir() else []
        log = self._folder / f"{name.replace(' ', '-').replace(',', '')}.log"
        return child(of, self._told, log, paths=paths, overrides={**form, **overrides})

    def speed(self) -> dict[str, Any]:
        options, names = self._options, self._contestants()
        for name in names:
            if SIDES[name].converts:
                with self._child(name) as one:
                    one.ask("convert")
        with ExitStack() as stack:
            children = {name: stack.enter_context(self._child(name)) for name in names}
            rows = summary(measure(children, options.turns, options.seconds))
        title = (
            f"{options.side} px, quality {options.quality}, {self._setting.workers} workers, batches of "
            f"{self._setting.batch * VIEWS} images; {options.turns} turns of {options.seconds:g} s"
        )
        show(self._console, title, rows)
        return {"title": title, "contestants": rows, "goals": goals(rows), "goals_by_cpu": goals(rows, "cpu_ratio")}

    def memory(self) -> dict[str, Any]:
        """With a cache that holds an eighth of the job, so that shards come and go all the time."""
        images = self._options.memory_images
        with self._child(OURS, **{"data.cache_mib": 24, "data.block_shards": 2}) as one:
            told = one.ask("read", images=images, every=max(1, images // 100))
        mine, error = growth(told["images"], told["rss_mb"])
        self._console.print(
            f"memory: {told['rss_mb'][0]:.0f} MB after {told['images'][0]:,} images, {told['rss_mb'][-1]:.0f} MB after "
            f"{told['images'][-1]:,}; {mine:+.3f} MB for 10,000 images, ± {error:.3f} (wanted: below 1)"
        )
        return {**told, "mb_for_10000": mine, "error": error}

    def wait(self) -> dict[str, Any]:
        setting, rate = self._setting, H200_RATE * self._setting.workers / H200_CORES
        with self._child(OURS) as one:
            whole = one.ask("run", seconds=self._options.seconds)
            told = one.ask("pace", rate=rate, seconds=self._options.wait_seconds)
        workers, reached = setting.workers, told["images"] / told["seconds"]
        share, each = told["waited"] / told["seconds"], whole["images"] / whole["seconds"] / workers
        ceiling = whole["images"] / max(whole["main_cpu"], 1e-9)
        self._console.print(
            f"wait: an H200 takes {H200_RATE:,.0f} images/s of ViT-B/16 at 40 % MFU, {H200_RATE / H200_CORES:.1f} for "
            f"each of {H200_CORES} cores; {workers} workers here are asked for {rate:.0f}/s and give {reached:.0f}/s: "
            f"{100 * share:.2f} % of the time is spent waiting (wanted: below 1)"
        )
        self._console.print(
            f"      as fast as it goes {each:.0f}/s a worker here, so {each * H200_CORES:,.0f}/s with {H200_CORES}: "
            f"{headroom(each):.2f} times what is needed; the thread that takes the batches could take {ceiling:,.0f}/s"
        )
        return {"asked": rate, "reached": reached, "share": share, "each": each, "ceiling": ceiling, "workers": workers}


def prepared(options: argparse.Namespace, folder: Path, server: LocalS3) -> Path:
    """The job on the server and as local files, and the setting that tells of them."""
    files, store = jpegs(options.side, options.quality), open_store(server.settings())
    ref = write_job(store, files, options.captions, options.side, options.quality)
    write_files(folder / "files", files, options.captions)
    settings = server.settings()
    told = folder / "setting.json"
    Setting(
        endpoint=server.endpoint,
        bucket=settings.bucket,
        access_key=server.access_key,
        secret_key=server.secret_key,
        folder=str(folder),
        dataset=ref.to_bytes().decode(),
        captions=options.captions,
        batch=options.batch,
        workers=options.workers,
    ).write(told)
    sys.stderr.write(f"{options.captions} captions, {sum(map(len, files)) / len(files) / 1e3:.0f} kB an image\n")
    return told


def _parts(text: str) -> list[str]:
    wanted = text.split(",")
    if unknown := [part for part in wanted if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=_parts, default=list(PARTS), help="some of speed,memory,wait")
    parser.add_argument("--only", action="append", choices=RIVALS, help="beside the trainer's; repeatable")
    parser.add_argument("--plain", action="store_true", help="also the trainer's loader with data.cutting plain")
    parser.add_argument("--side", type=int, default=512, help="of the images in pixels, at most 512")
    parser.add_argument("--quality", type=int, default=90)
    parser.add_argument("--captions", type=int, default=640, help="four images each")
    parser.add_argument("--batch", type=int, default=8, help="captions in a batch, a multiple of 8")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads or processes; all cores")
    parser.add_argument("--turns", type=int, default=10, help="at least 10")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn of each")
    parser.add_argument("--memory-images", type=int, default=200_000)
    parser.add_argument("--wait-seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    if options.turns < 10:
        parser.error("--turns: at least 10, or there is no interval of 95 %")
    console = Console(width=max(Console().width, 150))
    folder = Path(tempfile.mkdtemp(prefix="bench-loader-", dir=BUILD.parent))
    facts: dict[str, Any] = {"load": os.getloadavg()[0], "workers": options.workers}
    server = LocalS3.start(folder / "s3")
    try:
        bench = Bench(options, console, folder, prepared(options, folder, server))
        for part in options.parts:
            facts[part] = getattr(bench, part)()
    except ChildFailed as error:
        sys.exit(f"{error}\n{folder} is kept")
    finally:
        server.server.stop()
    shutil.rmtree(folder)
    console.print(f"load {facts['load']:.1f} at first, {os.getloadavg()[0]:.1f} at last")
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
