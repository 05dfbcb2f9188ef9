"""Run docs/03-python-client.ipynb anew against a farm that is started for it, and keep what its cells print.

`make notebook` puts nbclient and ipykernel into build/notebook, from where this process and the kernel import them.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from synfarm.local.finding import look

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "03-python-client.ipynb"
MOST_BYTES = 300_000
_SYNFARM = Path(sys.executable).with_name("synfarm")


def executed(source: str, folder: Path) -> dict[str, Any]:
    """The notebook with the outputs of the farm in ``folder``, without what only this run knows."""
    state = look(folder).state
    if state is None:
        raise SystemExit("the farm did not start: see its logs")
    os.environ |= {
        "SYNFARM_API_URL": state.api_url,
        "SYNFARM_TRAINER_URL": state.trainer_url,
        "SYNFARM_API_KEY": state.key_file.read_text().strip(),
    }
    book = nbformat.reads(source, as_version=4)
    client = NotebookClient(book, timeout=900, kernel_name="python3", record_timing=False, coalesce_streams=True)
    client.execute(cwd=str(folder.parent))
    book["metadata"]["language_info"] = {"name": "python"}
    for cell in book["cells"]:
        cell["metadata"] = {}
    found: dict[str, Any] = json.loads(nbformat.writes(book))
    return found


def told(book: dict[str, Any]) -> str:
    """All outputs but pictures, whose base64 may spell anything."""
    words: list[Any] = []
    for output in (output for cell in book["cells"] for output in cell.get("outputs", ())):
        words += [output.get("text"), *(data for kind, data in output.get("data", {}).items() if kind != "image/png")]
    return json.dumps(words)


def main() -> int:
    """Write the notebook, if it ran and holds nothing of this machine."""
    with tempfile.TemporaryDirectory(prefix="synfarm-notebook-") as temporary:
        folder = Path(temporary) / "synfarm-data"
        # The farm runs on what is pinned, not on what the notebook's packages bring.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run([_SYNFARM, "up", "--detach", "--data-dir", folder], check=True, env=env)
        try:
            book = executed(NOTEBOOK.read_text(encoding="utf-8"), folder)
        finally:
            subprocess.run([_SYNFARM, "down", "--data-dir", folder], check=True, env=env)
    text = json.dumps(book, indent=1, ensure_ascii=False) + "\n"
    for private in (temporary, str(ROOT), str(Path.home()), socket.gethostname(), "127.0.0.1", "site-packages"):
        if re.search(rf"(?<!\w){re.escape(private)}(?!\w)", told(book)):
            raise SystemExit(f"the outputs hold {private!r}, which is this machine's alone")
    if len(text.encode()) > MOST_BYTES:
        raise SystemExit(f"the notebook would have {len(text.encode())} bytes; make its pictures smaller")
    NOTEBOOK.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
