"""Entry of one rank: ``python -m synfarm_trainer.run --run-id … --attempt … --state-dir …`` under torchrun."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

from synfarm.contracts.ids import check_ulid
from synfarm.faults import Faults
from synfarm.settings import ProcessSettings, StoreSettings
from synfarm.slow_imports import collector_at_rest
from synfarm.telemetry import configure_logging, get_logger
from synfarm_trainer.heap import limit_heaps
from synfarm_trainer.parent import die_with_agent

__all__ = ["main"]

_FLUSH_SECONDS = 5.0
"""For the last steps before an error: less than torchrun and Kubernetes give ranks that they end."""


def main(arguments: list[str] | None = None) -> int:
    """Train; 0 if the run is complete or was stopped by SIGTERM, 1 otherwise. The exit record says which and why."""
    die_with_agent()
    limit_heaps()
    parser = argparse.ArgumentParser(prog="synfarm_trainer.run", description="One rank of a training run.")
    parser.add_argument("--run-id", required=True, type=check_ulid)
    parser.add_argument("--attempt", required=True, type=int)
    parser.add_argument("--state-dir", required=True, type=Path)
    parser.add_argument("--new-attempt", action="store_true", help="rank 0 opens an attempt of its own")
    options = parser.parse_args(arguments)
    settings = ProcessSettings()
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    first_here = os.environ.get("LOCAL_RANK", "0") == "0"
    configure_logging(settings.log_level, settings.log_format, process=f"trainer-{rank}")
    log = get_logger(__name__)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())

    # Slow imports come after the parent-death signal is set.
    with collector_at_rest():
        import torch.distributed as dist

        from synfarm.storage.minio_store import open_store
        from synfarm_trainer.attempts import opened_attempt
        from synfarm_trainer.data.cache.opening import with_connections
        from synfarm_trainer.device import join_ranks
        from synfarm_trainer.endings import exit_detail, exit_reason
        from synfarm_trainer.ranks import Ranks
        from synfarm_trainer.session import Session, Start
        from synfarm_trainer.settings import TrainerSettings
        from synfarm_trainer.sinks.fan_out import Sinks
        from synfarm_trainer.sinks.opening import SinkSettings, open_sinks

    start = Start(options.run_id, options.attempt, options.state_dir, TrainerSettings().cache_dir)
    session: Session | None = None
    sinks: Sinks | None = None
    try:
        if world > 1:
            join_ranks()
        store, ranks = open_store(with_connections(StoreSettings())), Ranks(rank, world)
        if options.new_attempt:
            start = replace(start, attempt=opened_attempt(store, start.run, ranks))
        sinks = open_sinks(SinkSettings(), start.state_dir) if rank == 0 else None
        faults = Faults(settings.faults)
        session = Session(store, start, ranks, faults, stop.is_set, sinks, sets=TrainerSettings().sets)
        reason = session.train()
        session.close()
        if first_here:
            # On every machine: each one's launcher tells how its ranks ended.
            start.leave(reason, None, session.step)
    except Exception as error:
        reached = session.step if session is not None else 0
        log.error("run_failed", run=start.run, step=reached, exc_info=True)
        why = exit_reason(error, building=session is None)
        start.leave(why, exit_detail(error)[:2000], reached)
        if session is not None:
            session.flush(_FLUSH_SECONDS)
        if sinks is not None:
            if why != "fenced":  # a newer start tells the same sinks how it goes on
                sinks.write("state", {"state": "failed", "step": reached})
            sinks.close(5.0)
        # Without waiting for threads: other ranks and uploads may hang on what has just failed.
        sys.stderr.flush()
        os._exit(1)
    if world > 1:
        dist.destroy_process_group()
    if sinks is not None and not sinks.close(15.0):
        # What they have left running must not hold up the end of the run.
        sys.stderr.flush()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
