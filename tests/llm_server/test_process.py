"""The server as a process: a graceful stop, the real SmolLM2, the text-generation client in its own venv."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import InferenceClient

from synfarm.trust import trust_for

pytestmark = [pytest.mark.integration]

_SCRIPT = """
import json, sys
from text_generation import Client
from text_generation.errors import ValidationError
client = Client(sys.argv[1], timeout=60)
whole = client.generate("a cat", max_new_tokens=8, seed=1, do_sample=True)
parts = [r for r in client.generate_stream("a cat", max_new_tokens=8, seed=1, do_sample=True)]
try:
    client.generate("x" * 4000, max_new_tokens=500)
except ValidationError as error:
    refused = str(error)
print(json.dumps({
    "text": whole.generated_text, "tokens": whole.details.generated_tokens, "stream": parts[-1].generated_text,
    "joined": "".join(p.token.text for p in parts if not p.token.special), "refused": refused,
}))
"""


@pytest.fixture
def process() -> Iterator[Callable[[str], tuple[str, subprocess.Popen[bytes]]]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(model: str) -> tuple[str, subprocess.Popen[bytes]]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = os.environ | {"SYNFARM_LLM_MODEL": model, "SYNFARM_LLM_PORT": str(port), "HF_HUB_OFFLINE": "1"}
        child = subprocess.Popen([sys.executable, "-m", "synfarm_llm_server"], env=environment)
        running.append(child)
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 200
        with httpx.Client(verify=trust_for(url)) as client:
            while time.monotonic() < end and child.poll() is None:
                try:
                    if client.get(f"{url}/health").status_code == 200:
                        return url, child
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
        raise AssertionError("the server did not become healthy")

    yield start
    for child in running:
        child.kill()
        child.wait()


def test_sigterm_lets_rows_finish(process) -> None:
    url, child = process("tiny")
    texts: list[str] = []
    client = InferenceClient(url)
    asking = threading.Thread(target=lambda: texts.append(client.text_generation("x", max_new_tokens=600, seed=1)))
    asking.start()
    end = time.monotonic() + 60
    with httpx.Client(verify=trust_for(url)) as looking:
        while "tgi_batch_current_size 1.0" not in looking.get(f"{url}/metrics").text:
            assert time.monotonic() < end, "the row never ran"
            time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    asking.join(60)
    assert len(texts) == 1
    assert child.wait(60) in {0, -signal.SIGTERM}


@pytest.mark.slow
def test_smollm2_writes_captions(process) -> None:
    url, _ = process("smollm2")
    prompt = (
        "Describe an image in one sentence, given the object it shows:\n\n"
        "lighthouse => a white lighthouse on a rocky coast in the evening light\n\n"
        "goldfish => a bowl with two goldfish on a wooden table\n\ndog =>"
    )
    client = InferenceClient(url)
    text = client.text_generation(prompt, max_new_tokens=30, stop=["\n"])
    words = re.findall(r"[a-z]+", text.lower())
    assert len(words) >= 4
    assert len(set(words)) > len(words) / 2


@pytest.mark.slow
def test_text_generation_client(process, tmp_path: Path) -> None:
    # This environment's pip works on the new one (--python), which then needs no pip of its own.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-compile"]
    subprocess.run([*pip, "text-generation==0.7.0"], check=True)
    url, _ = process("tiny")
    done = subprocess.run([python, "-c", _SCRIPT, url], check=True, capture_output=True, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["tokens"] == 8
    assert result["text"] == result["stream"] == result["joined"]
    assert "must be <=" in result["refused"]
