"""The engine: one thread in which all requests share forward passes; rows join and leave between steps."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch

from synfarm.telemetry import get_logger
from synfarm_llm_server.engine.request import Generation
from synfarm_llm_server.engine.row import Row
from synfarm_llm_server.engine.sampler import choose
from synfarm_llm_server.model.forward import ForwardPass
from synfarm_llm_server.model.loading import LoadedModel
from synfarm_llm_server.model.prefixes import PrefixCache

__all__ = ["Engine", "EngineFailed", "EngineLimits", "EngineStopped"]

_log = get_logger(__name__)
_MOST_PADDING = 0.25
"""Share of a prompt pass that may be padding; beyond it a second pass is cheaper (prompts are bound by arithmetic)."""


class EngineFailed(RuntimeError):
    """The engine's thread died; the process has to be started anew."""


class EngineStopped(RuntimeError):
    """The server is shutting down; the request was not finished."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Rows of a batch, tokens of a row, prompt tokens of a pass, prompt tokens remembered."""

    rows: int
    total_tokens: int
    prefill_tokens: int
    prefix_tokens: int


class Engine:
    """Runs generations until stopped.

    Slots 0 to n-1 hold the rows that write, in no order. At most one more, in slot n, has read part of its prompt.
    ``on_failure`` is called once, in the engine's thread, when a pass raises: by then every request has got its error.
    """

    def __init__(self, model: LoadedModel, limits: EngineLimits, on_failure: Callable[[Exception], None]) -> None:
        self._model = model
        self._limits = limits
        self._on_failure = on_failure
        self._forward = ForwardPass(model, limits.rows, limits.total_tokens)
        self._prefixes = PrefixCache(limits.prefix_tokens)
        self._waiting: deque[Generation] = deque()
        self._writing: list[Row] = []
        self._reading: Row | None = None
        self._joining: list[Row] = []
        self._wake = threading.Condition()
        self._stopping = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="llm-engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, order: Generation) -> None:
        """Queue a generation; its ``emit`` gets every event.

        Raises:
            EngineFailed, EngineStopped: it will not run.
        """
        with self._wake:
            if self._failure is not None:
                raise EngineFailed(str(self._failure))
            if self._stopping:
                raise EngineStopped("the server is shutting down")
            self._waiting.append(order)
            self._wake.notify()

    def stop(self, timeout: float = 10.0) -> None:
        """End after the current step; unfinished rows get :class:`EngineStopped`."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and self._failure is None

    @property
    def passes(self) -> int:
        """Forward passes so far."""
        return self._forward.passes

    @property
    def running(self) -> int:
        return len(self._writing) + (self._reading is not None)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def prefix_hit_tokens(self) -> int:
        return self._prefixes.hit_tokens

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while self._wait_for_work():
                    self._drop(lambda row: row.order.cancelled)
                    self._read_prompts()
                    self._write_step()
                    self._writing.extend(self._joining)
                    self._joining = []
                    self._drop(lambda row: row.done)
            self._tell_all(EngineStopped("the server is shutting down"))
        except Exception as error:  # noqa: BLE001  whatever a pass raises, requesters must hear of it
            _log.error("engine_failed", exc_info=error)
            with self._wake:
                self._failure = error
            self._tell_all(EngineFailed(f"{type(error).__name__}: {error}"))
            self._on_failure(error)

    def _wait_for_work(self) -> bool:
        with self._wake:
            while not (self._stopping or self._waiting or self._writing or self._reading):
                self._wake.wait()
            return not self._stopping

    def _tell_all(self, error: Exception) -> None:
        with self._wake:
            rows = [*self._writing, *self._joining, *([self._reading] if self._reading else [])]
            orders = [row.order for row in rows if not row.done]
            orders += self._waiting
            self._writing, self._joining, self._reading = [], [], None
            self._waiting.clear()
        for order in orders:
            order.emit(error)

    def _drop(self, leaves: Callable[[Row], bool]) -> None:
        """Take rows out; the last row's cache moves into the gap, so that rows stay adjacent."""
        cache = self._forward.cache
        if self._reading is not None and leaves(self._reading):
            self._reading = None
        for slot in reversed(range(len(self._writing))):
            if not leaves(self._writing[slot]):
                continue
            last = len(self._writing) - 1
            mover = self._writing.pop()
            if slot != last:
                self._writing[slot] = mover
                cache.move(last, slot, mover.cached)
            if self._reading is not None:
                cache.move(last + 1, last, self._reading.cached)

    def _take_waiting(self) -> Row | None:
        with self._wake:
            while self._waiting:
                order = self._waiting.popleft()
                if not order.cancelled:
                    return Row.of(order, self._model)
        return None

    def _read_prompts(self) -> None:
        """Read waiting prompts up to the budget; rows whose prompt is finished get their first token."""
        budget = self._limits.prefill_tokens
        slot = len(self._writing)
        admitted = self._joining
        while budget > 0 and slot + len(admitted) < self._limits.rows:
            row, self._reading = self._reading, None
            if row is None:
                row = self._take_waiting()
                if row is None:
                    break
                self._restore_prefix(row, slot + len(admitted))
            admitted.append(row)
            budget -= len(row.unread())
        if not admitted:
            return
        pieces = [list(row.unread()) for row in admitted]
        if budget < 0:
            pieces[-1] = pieces[-1][:budget]
        start = 0
        while start < len(admitted):
            count = self._group(pieces[start:], admitted[start:])
            self._prompt_pass(slot + start, admitted[start : start + count], pieces[start : start + count])
            start += count
        if admitted[-1].unread():
            self._reading = admitted.pop()

    def _group(self, pieces: list[list[int]], rows: list[Row]) -> int:
        """How many of the first rows share a pass without too much padding."""
        longest = total = 0
        for count, (piece, row) in enumerate(zip(pieces, rows, strict=True)):
            # Every position's logits are wanted here: a pass of its own keeps them from being computed for others.
            if row.order.prefill_details:
                return max(count, 1)
            longest = max(longest, len(piece))
            total += len(piece)
            if count and longest * (count + 1) - total > _MOST_PADDING * longest * (count + 1):
                return count
        return len(pieces)

    def _prompt_pass(self, first: int, rows: list[Row], pieces: list[list[int]]) -> None:
        details = rows[0].order.prefill_details
        logits = self._forward(first, pieces, [row.cached for row in rows], every_position=details)
        if details:
            _note_prefill(rows[0], pieces[0], logits[0])
            logits = logits[:, -1]
        for row, piece in zip(rows, pieces, strict=True):
            row.cached += len(piece)
        finished = [i for i, row in enumerate(rows) if not row.unread()]
        if finished:
            self._choose([rows[i] for i in finished], logits[finished])
        for i in finished:
            self._keep_prefix(rows[i], first + i)

    def _write_step(self) -> None:
        rows = self._writing
        if not rows:
            return
        logits = self._forward(0, [row.produced[-1:] for row in rows], [row.cached for row in rows])
        for row in rows:
            row.cached += 1
        self._choose(rows, logits)

    def _choose(self, rows: list[Row], logits: torch.Tensor) -> None:
        histories = [row.history if row.order.sampling.penalised else () for row in rows]
        settings = [row.order.sampling for row in rows]
        choices = choose(logits, settings, histories, [len(row.produced) for row in rows])
        for row, choice in zip(rows, choices, strict=True):
            row.accept(choice)

    def _restore_prefix(self, row: Row, slot: int) -> None:
        if row.order.prefill_details:
            return
        known = self._prefixes.find(row.order.prompt)
        if known is not None:
            self._forward.cache.write(slot, known)
            row.cached = known.shape[2]

    def _keep_prefix(self, row: Row, slot: int) -> None:
        if self._prefixes.worth_keeping(row.order.prompt):
            self._prefixes.keep(row.order.prompt, self._forward.cache.read(slot, len(row.order.prompt)))


def _note_prefill(row: Row, piece: list[int], logits_tv: torch.Tensor) -> None:
    """Log-probabilities of the prompt's tokens; the first one of the prompt has none."""
    if not row.prefill:
        row.prefill.append(row.token(piece[0], None))
    logprobs = torch.log_softmax(logits_tv, dim=-1)
    following = row.order.prompt[row.cached + 1 : row.cached + len(piece) + 1]
    for t, token in enumerate(following):
        row.prefill.append(row.token(token, float(logprobs[t, token])))
