"""Sending a unit: the send is recorded first, so that a message that was never written is missed and sent again."""

from __future__ import annotations

from celery import Celery

from synfarm.contracts.jobs import JobSpec, Lane
from synfarm.contracts.renders import Stage, UnitTask, caption_queue, render_queue, skill
from synfarm.queue.app import send_task
from synfarm.queue.board import Board
from synfarm.tracing import Tracing

__all__ = ["Dispatcher", "queue_of"]


def queue_of(spec: JobSpec, stage: Stage, lane: Lane | None = None) -> str:
    """The queue of a job's stage; ``lane`` overrides the job's own for units that aged."""
    lane = lane or spec.lane
    if stage is Stage.CAPTION:
        return caption_queue(lane, spec.schema_version)
    return render_queue(skill(spec.render.capability, spec.schema_version), lane)


class Dispatcher:
    """Records and sends. The caption worker calls it after its JSONL, the feeder for everything else."""

    def __init__(self, app: Celery, board: Board, tracing: Tracing | None = None) -> None:
        self._app, self._board, self._tracing = app, board, tracing or Tracing()

    def send(self, spec: JobSpec, unit: int, stage: Stage, *, lane: Lane | None = None) -> UnitTask:
        """Send ``unit`` to the queue of ``stage`` and return what was sent.

        Raises:
            redis.exceptions.RedisError, kombu.exceptions.OperationalError: the broker is away.
        """
        queue = queue_of(spec, stage, lane)
        sequence = self._board.record_send(spec.job, unit, stage, queue)
        task = UnitTask(job=spec.job, unit=unit, stage=stage, queue=queue, sequence=sequence)
        send_task(self._app, task, self._tracing.carrier(spec.job))
        return task
