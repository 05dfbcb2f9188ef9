"""``python -m synfarm_trainer.launch``: the ranks of one machine under torchrun, with exit codes that say why.

The local launcher runs it on one machine, the pods of the Kubernetes launcher on one or more.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from synfarm.contracts.ids import check_ulid
from synfarm.settings import ProcessSettings
from synfarm.telemetry import configure_logging, get_logger
from synfarm_trainer.launch.agent import Gang, run_agent
from synfarm_trainer.launch.codes import ExitCode

__all__ = ["main"]

_MESSAGE_BYTES = 3500
"""Of the 4,096 that Kubernetes keeps of a termination message."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synfarm_trainer.launch", description="The ranks of one machine.")
    parser.add_argument("--run-id", required=True, type=check_ulid)
    parser.add_argument("--attempt", required=True, type=int)
    parser.add_argument("--state-dir", required=True, type=Path)
    parser.add_argument("--ranks", required=True, type=int, help="processes on this machine")
    parser.add_argument("--nodes", default=1, type=int, help="machines of the run")
    number = int(os.environ.get("JOB_COMPLETION_INDEX", "0"))
    parser.add_argument("--node", default=number, type=int, help="number of this one; a pod of a Job is told it")
    parser.add_argument("--endpoint", default="localhost:0", help="host:port at which they meet, on machine 0")
    parser.add_argument("--join-seconds", default=600.0, type=float, help="how long to wait for the others")
    parser.add_argument("--grace", type=float, help="seconds from SIGTERM to SIGKILL of the ranks")
    parser.add_argument("--new-attempt", action="store_true", help="rank 0 opens an attempt of its own")
    parser.add_argument("--message", type=Path, help="file for reason and detail, as JSON")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """An :class:`ExitCode`."""
    options = _parser().parse_args(arguments)
    settings = ProcessSettings()
    configure_logging(settings.log_level, settings.log_format, process=f"trainer-agent-{options.node}")
    if options.grace is not None:
        # torchrun waits 30 s by default, and then kills ranks that still save.
        os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(max(1, int(options.grace)))
    gang = Gang(
        run=options.run_id,
        attempt=options.attempt,
        state_dir=options.state_dir,
        ranks=options.ranks,
        nodes=options.nodes,
        node=options.node,
        endpoint=options.endpoint,
        join_seconds=options.join_seconds,
        new_attempt=options.new_attempt,
    )

    def leave(code: ExitCode, detail: str | None) -> None:
        _tell(gang.run, code, detail, options.message)
        sys.stderr.flush()
        os._exit(int(code))

    code, detail = run_agent(gang, leave)
    _tell(gang.run, code, detail, options.message)
    return int(code)


def _tell(run: str, code: ExitCode, detail: str | None, message: Path | None) -> None:
    get_logger(__name__).info("start_ended", run=run, code=int(code), reason=code.reason, detail=detail)
    if message is not None and code is not ExitCode.CRASH:
        # Of a crash the last lines of the log say more, and Kubernetes takes those where the file stays empty.
        message.write_text(json.dumps({"reason": code.reason, "detail": (detail or "")[:_MESSAGE_BYTES] or None}))


if __name__ == "__main__":
    sys.exit(main())
