"""Keeps child processes alive: starts them in order, restarts the dead within a budget, stops all in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from synfarm.local import launch
from synfarm.local.process import ProcessSpec, ServiceGaveUp, start_levels
from synfarm.telemetry import get_logger

__all__ = ["Supervisor"]

T = TypeVar("T")

_PROBE_PAUSE = 0.1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3.0

_log = get_logger(__name__)


def _in_words(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """SIGKILL for whatever is left of the child's own process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Supervisor:
    """Async context manager: inside the block all processes are ready, after it none is left.

    It must live in the main thread: the kernel ties a child's death signal to the thread that started it, and only the
    main thread is sure to live as long as the process.
    """

    def __init__(
        self,
        specs: Iterable[ProcessSpec],
        logs: Path,
        *,
        restarts: int = 5,
        window: float = 60.0,
        on_change: Callable[[str, str], None] | None = None,
    ) -> None:
        """
        Args:
            logs: folder of one log file a process.
            restarts: how often a process may be restarted within ``window`` seconds; the next death ends everything.
            on_change: told (process name, ``starting | ready | died …``) as it happens.
        """
        self._levels = start_levels(specs)
        self._logs = logs
        self._restarts, self._window = restarts, window
        self._on_change = on_change or (lambda name, state: None)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self.restarted: dict[str, int] = {}
        """Restarts so far by process name."""

    async def __aenter__(self) -> Self:
        """Start all, and wait until all are ready.

        Raises:
            ServiceGaveUp: one died too often or did not become ready; the others have been stopped.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the supervisor must run in the main thread, or its children would outlive a kill -9")
        self._logs.mkdir(parents=True, exist_ok=True)
        specs = [spec for level in self._levels for spec in level]
        self._ready = {spec.name: asyncio.Event() for spec in specs}
        self._keepers = [asyncio.create_task(self._keep(spec), name=f"keep-{spec.name}") for spec in specs]
        try:
            await self.guard(self._all_ready())
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.stop()

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` as long as every process is kept alive.

        Raises:
            ServiceGaveUp: a process gave up; the work has been cancelled.
        """
        task = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait({task, *self._keepers}, return_when=asyncio.FIRST_COMPLETED)
            for keeper in done - {task}:
                keeper.result()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def pid(self, name: str) -> int | None:
        """Process id of a child that runs now."""
        process = self._processes.get(name)
        return process.pid if process is not None and process.returncode is None else None

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    async def stop(self) -> None:
        """Stop all, those that depend on others first; SIGTERM, then SIGKILL after each one's time."""
        keepers, self._keepers = self._keepers, []
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        try:
            for level in reversed(self._levels):
                await asyncio.gather(*(self._stop_one(spec) for spec in level))
        finally:
            # A second Ctrl-C cancels the waiting above: then nothing is asked politely any more.
            for process in self._processes.values():
                if process.returncode is None:
                    _kill_group(process)

    async def _all_ready(self) -> None:
        await asyncio.gather(*(event.wait() for event in self._ready.values()))

    async def _keep(self, spec: ProcessSpec) -> None:
        deaths: deque[float] = deque()
        while True:
            await asyncio.gather(*(self._ready[name].wait() for name in spec.after))
            process = await self._spawn(spec)
            self._on_change(spec.name, "starting")
            exited = asyncio.create_task(process.wait())
            try:
                if await self._becomes_ready(spec, exited):
                    self._ready[spec.name].set()
                    self._on_change(spec.name, "ready")
                code = await exited
            finally:
                self._ready[spec.name].clear()
                exited.cancel()
            _kill_group(process)
            now = time.monotonic()
            deaths.append(now)
            while now - deaths[0] > self._window:
                deaths.popleft()
            _log.warning("process_died", name=spec.name, code=code, deaths=len(deaths))
            self._on_change(spec.name, f"died ({_in_words(code)})")
            if len(deaths) > self._restarts:
                what = f"died {len(deaths)} times within {self._window:g} s (last: {_in_words(code)})"
                raise ServiceGaveUp(spec.name, what, self.log_of(spec.name), spec.cure)
            await asyncio.sleep(min(_FIRST_PAUSE * 2.0 ** (len(deaths) - 1), _LONGEST_PAUSE))
            self.restarted[spec.name] = self.restarted.get(spec.name, 0) + 1

    async def _spawn(self, spec: ProcessSpec) -> asyncio.subprocess.Process:
        # -I -S: the launcher needs the standard library alone, and starts in 15 ms.
        command = (sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *spec.command)
        with self.log_of(spec.name).open("ab", buffering=0) as log:
            log.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')} start: {' '.join(spec.command)}\n".encode())
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(spec.env),
                # Its own group: a Ctrl-C in the terminal reaches the supervisor alone, which stops all in order.
                start_new_session=True,
            )
        self._processes[spec.name] = process
        return process

    async def _becomes_ready(self, spec: ProcessSpec, exited: asyncio.Task[int]) -> bool:
        """True when the probe says so, False when the process ended first."""
        missing: str | None = None
        try:
            async with asyncio.timeout(spec.ready_timeout):
                while not exited.done():
                    missing = await spec.probe() if spec.probe is not None else None
                    if missing is None:
                        return not exited.done()
                    await asyncio.sleep(_PROBE_PAUSE)
        except TimeoutError:
            what = f"was not ready after {spec.ready_timeout:g} s ({missing or 'no answer'})"
            raise ServiceGaveUp(spec.name, what, self.log_of(spec.name), spec.cure) from None
        return False

    async def _stop_one(self, spec: ProcessSpec) -> None:
        process = self._processes.get(spec.name)
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(spec.stop_signal)
        try:
            async with asyncio.timeout(spec.stop_timeout):
                await process.wait()
        except TimeoutError:
            _log.warning("process_killed", name=spec.name, after_seconds=spec.stop_timeout)
        _kill_group(process)
        await process.wait()
