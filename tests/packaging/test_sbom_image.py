"""`make sbom-image`: a list that lacks what the image says of itself is told, and is no success."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "scripts" / "sbom_image.py"
PURLS = (
    "pkg:deb/debian/bash@5.2.15-2%2Bb13?arch=amd64&distro=debian-12",
    "pkg:deb/debian/login@1%3A4.13%2Bdfsg1-1~deb12u1?arch=amd64",
    "pkg:pypi/sse-starlette@3.7.0",
)
DOCUMENT = {"specVersion": "1.6", "components": [{"purl": purl} for purl in PURLS] + [{"name": "debian"}]}
DEBIAN = "installed bash 5.2.15-2+b13\ninstalled login 1:4.13+dfsg1-1~deb12u1\nconfig-files gone 1\n"
PYTHON = "SSE_Starlette 3.7.0\n"


@pytest.fixture
def sbom(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    spec = spec_from_file_location("sbom_image", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "build").mkdir()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "_told", lambda image, program, *_: DEBIAN if program == "dpkg-query" else PYTHON)
    monkeypatch.setattr(module, "_scanned", lambda image: DOCUMENT)
    monkeypatch.setattr(module, "_schema_faults", lambda document: ())
    return module


def test_names_and_versions_are_compared_as_both_sides_spell_them(sbom: Any) -> None:
    assert sbom.lacking(DOCUMENT, DEBIAN, PYTHON) == []
    assert sbom.lacking(DOCUMENT, DEBIAN + "installed tini 0.19.0-1+b3\n", PYTHON + "torch 2.11.0\n") == [
        "pkg:deb/debian/tini@0.19.0-1+b3",
        "pkg:pypi/torch@2.11.0",
    ]


def test_a_list_is_written_and_counted(sbom: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sbom.main(["synfarm/trainer:dev"]) == sbom.WHOLE
    assert json.loads((tmp_path / "build" / "sbom-synfarm-trainer-dev.cdx.json").read_text()) == DOCUMENT
    assert "2 packages of Debian, 1 of Python, CycloneDX 1.6" in capsys.readouterr().out


def test_what_lacks_or_breaks_the_schema_is_no_success(
    sbom: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sbom, "_scanned", lambda image: {**DOCUMENT, "components": DOCUMENT["components"][1:]})
    assert sbom.main(["a"]) == sbom.LACKING
    assert "a: pkg:deb/debian/bash@5.2.15-2+b13 is lacking" in capsys.readouterr().err
    monkeypatch.setattr(sbom, "_schema_faults", lambda document: ("no such field",))
    monkeypatch.setattr(sbom, "_scanned", lambda image: DOCUMENT)
    assert sbom.main(["a"]) == sbom.LACKING


def test_without_an_engine_nothing_is_said_to_be_proven(
    sbom: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*_: str) -> str:
        raise sbom.NoImage("there is no docker on the PATH")

    monkeypatch.setattr(sbom, "_told", away)
    assert sbom.main([]) == sbom.NOTHING
    assert "no docker on the PATH; build it" in capsys.readouterr().err
