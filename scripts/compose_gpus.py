"""Write the compose file that says which service has which GPUs, for docker-compose.gpu.yml to stand below.

    python3 scripts/compose_gpus.py --llm 0 --render 1,2,3 --trainer '4,5;6,7' > docker-compose.gpus.yml

GPUs are numbers or UUIDs as `nvidia-smi -L` lists them; semicolons part the trainer's sets, one run a set. Each GPU of
``--render`` gets a service of its own: compose's replicas of one service would all get the same GPU. A GPU may be given
to several kinds where they are meant to share it. Python's own library is all that it needs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

_HEAD = """# Written by scripts/compose_gpus.py {arguments}
# Stands on docker-compose.yml and docker-compose.gpu.yml.
"""


def gpus(text: str) -> list[str]:
    """``0,1`` or UUIDs, as a list.

    Raises:
        argparse.ArgumentTypeError: something else, or one twice.
    """
    found = [word.strip() for word in text.split(",")]
    for word in found:
        if not re.fullmatch(r"[0-9]+|(GPU|MIG)-[A-Za-z0-9/-]+", word):
            raise argparse.ArgumentTypeError(f"{word!r} is no GPU; give numbers or UUIDs as in 0,1")
        if found.count(word) > 1:
            raise argparse.ArgumentTypeError(f"GPU {word} is named twice")
    return found


def sets(text: str) -> list[list[str]]:
    """``0,1;2,3`` as a list of sets.

    Raises:
        argparse.ArgumentTypeError: something else, or a GPU in two of them.
    """
    found = [gpus(part) for part in text.split(";")]
    gpus(",".join(gpu for one in found for gpu in one))
    return found


def overlay(llm: Sequence[str], render: Sequence[str], trainer: Sequence[Sequence[str]]) -> str:
    """The file's text, below its head."""
    lines = ["services:"]
    for server in ("llm-server", "vllm"):
        lines += [f"  {server}:", f'    environment: {{NUM_SHARD: "{len(llm)}"}}', _devices(llm)]
    for number, gpu in enumerate(render, 1):
        # Not `-2`, which is how compose calls the second container of the first service.
        lines.append(f"  render-worker{f'-n{number}' if number > 1 else ''}:")
        if number > 1:
            lines += [
                "    extends: {file: docker-compose.gpu.yml, service: render-worker}",
                "    build: !reset null",
                # Whoever asks for the service `render-worker` by DNS finds them all.
                "    networks: {default: {aliases: [render-worker]}}",
            ]
        lines.append(_devices([gpu]))
    given = [gpu for one in trainer for gpu in one]
    lines += [
        "  trainer:",
        f'    environment: {{SYNFARM_TRAINER_DEVICES: "{sets_inside(trainer)}"}}',
        _devices(given),
    ]
    return "\n".join(lines) + "\n"


def sets_inside(trainer: Sequence[Sequence[str]]) -> str:
    """The trainer's sets by the names that GPUs have in its container: numbers begin at 0 there, UUIDs stay.

    Raises:
        ValueError: numbers and UUIDs are mixed, so that nobody can tell the order.
    """
    given = [gpu for one in trainer for gpu in one]
    if not any(gpu.isdigit() for gpu in given):
        return ";".join(",".join(one) for one in trainer)
    if not all(gpu.isdigit() for gpu in given):
        raise ValueError("--trainer: numbers and UUIDs are mixed; give one or the other")
    inside = {gpu: str(number) for number, gpu in enumerate(sorted(given, key=int))}
    return ";".join(",".join(inside[gpu] for gpu in one) for one in trainer)


def _devices(ids: Sequence[str]) -> str:
    listed = ", ".join(f'"{gpu}"' for gpu in ids)
    device = f"{{driver: nvidia, device_ids: [{listed}], capabilities: [gpu]}}"
    return f"    deploy: {{resources: {{reservations: {{devices: !override [{device}]}}}}}}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llm", type=gpus, required=True, help="of the language model's server; several: shards of it")
    parser.add_argument("--render", type=gpus, required=True, help="a render worker each")
    parser.add_argument("--trainer", type=sets, required=True, help="sets of GPUs, one run a set")
    options = parser.parse_args(arguments)
    try:
        text = overlay(options.llm, options.render, options.trainer)
    except ValueError as error:
        parser.error(str(error))
    users = [("llm", options.llm), ("render", options.render), ("trainer", [g for one in options.trainer for g in one])]
    for gpu in sorted({gpu for _, given in users for gpu in given}):
        sharing = [name for name, given in users if gpu in given]
        if len(sharing) > 1:
            sys.stderr.write(f"note: GPU {gpu} is shared by {', '.join(sharing)}: see docs/07-gpus.md, One GPU\n")
    shown = " ".join(sys.argv[1:] if arguments is None else arguments)
    sys.stdout.write(_HEAD.format(arguments=shown) + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
