"""Settings that do not allow to serve: the process ends with 2 and names the one to correct."""

from __future__ import annotations

import pytest

from synfarm import starting
from synfarm_trainer import __main__ as service


@pytest.mark.parametrize(
    ("name", "value", "more"),
    [
        ("SYNFARM_TRAINER_SINKS", "tensorbored", {}),
        ("SYNFARM_TRAINER_STATUS_URL", "", {"SYNFARM_TRAINER_SINKS": "status"}),
        ("SYNFARM_TRAINER_MAX_RANKS", "none", {}),
        ("SYNFARM_TRAINER_KUBERNETES_IMAGE", "", {"SYNFARM_TRAINER_LAUNCHER": "kubernetes"}),
        ("SYNFARM_TRAINER_LEASE_DIR", "/dev/null", {"SYNFARM_TRAINER_DEVICES": "0"}),
    ],
)
def test_a_setting_that_is_refused_is_named(
    name: str, value: str, more: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Log:
        def error(self, event: str, *, error: str, next_step: str) -> None:
            told.append(f"{event}: {error}; {next_step}")

    # How this process logs, other tests may have set, to streams that are closed by now.
    for module in (service, starting):
        monkeypatch.setattr(module, "configure_logging", lambda *args, **options: None)
        monkeypatch.setattr(module, "get_logger", lambda name: Log())
    for key, text in {name: value, **more}.items():
        monkeypatch.setenv(key, text)
    monkeypatch.setattr(service, "open_proven", lambda settings: None)
    assert service.main() == 2
    assert len(told) == 1
    assert name in told[0]
