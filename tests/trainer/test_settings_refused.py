"""Settings that do not allow to serve: the process ends with 2 and names the one to correct."""

from __future__ import annotations

import pytest

from synfarm_trainer import __main__ as service


@pytest.mark.parametrize(
    ("name", "value", "more"),
    [
        ("SYNFARM_TRAINER_SINKS", "tensorbored", {}),
        ("SYNFARM_TRAINER_STATUS_URL", "", {"SYNFARM_TRAINER_SINKS": "status"}),
        ("SYNFARM_TRAINER_MAX_RANKS", "none", {}),
        ("SYNFARM_TRAINER_KUBERNETES_IMAGE", "", {"SYNFARM_TRAINER_LAUNCHER": "kubernetes"}),
    ],
)
def test_a_setting_that_is_refused_is_named(
    name: str, value: str, more: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(service, "configure_logging", lambda *args, **options: None)
    for key, text in {name: value, **more}.items():
        monkeypatch.setenv(key, text)
    monkeypatch.setattr(service, "open_proven", lambda settings: None)
    assert service.main() == 2
    assert name in capsys.readouterr().out
