"""Every process that works on the store says in one line, and by an exit code, why it cannot start with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synfarm.local.ports import HeldPorts
from synfarm.settings import StoreSettings
from synfarm.storage.opening import REFUSED, TRY_AGAIN

pytestmark = pytest.mark.integration

MODULES = ("synfarm_caption_api", "synfarm_caption_api.worker", "synfarm_render_worker", "synfarm_trainer")


@pytest.mark.parametrize(("wrong", "code"), [("secret", REFUSED), ("endpoint", TRY_AGAIN)])
def test_one_line_and_an_exit_code(store_settings: StoreSettings, tmp_path: Path, wrong: str, code: int) -> None:
    nobody = HeldPorts(1)
    endpoint = store_settings.endpoint if wrong == "secret" else f"127.0.0.1:{nobody.numbers[0]}"
    environment = {
        **os.environ,
        "SYNFARM_STORE_ENDPOINT": endpoint,
        "SYNFARM_STORE_ACCESS_KEY": store_settings.access_key.get_secret_value(),
        "SYNFARM_STORE_SECRET_KEY": "not-the-secret",
        "SYNFARM_STORE_RETRIES": "0",
        "SYNFARM_TRAINER_STATE_DIR": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    children = {
        module: subprocess.Popen(
            [sys.executable, "-m", module], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for module in MODULES
    }
    try:
        told = {module: child.communicate(timeout=120)[0] for module, child in children.items()}
    finally:
        for child in children.values():
            child.kill()
    assert {module: child.returncode for module, child in children.items()} == dict.fromkeys(MODULES, code), told
    for text in told.values():
        assert "SYNFARM_STORE_" in text
        assert "Traceback" not in text
        assert "not-the-secret" not in text
