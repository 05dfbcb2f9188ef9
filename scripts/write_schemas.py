"""Write the JSON schema of every contract to docs/schemas/; a test compares them with the models."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path

import synfarm.contracts
from synfarm.contracts.base import Contract

SCHEMAS = Path(__file__).parent.parent / "docs" / "schemas"


def contracts() -> dict[str, type[Contract]]:
    """Every public contract model by name."""
    found: dict[str, type[Contract]] = {}
    for module_info in pkgutil.iter_modules(synfarm.contracts.__path__):
        module = importlib.import_module(f"synfarm.contracts.{module_info.name}")
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, Contract) and value is not Contract:
                found[name] = value
    return found


def render(model: type[Contract]) -> str:
    """The schema as committed: sorted keys, two spaces, a final line end."""
    return json.dumps(model.model_json_schema(mode="validation"), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMAS.mkdir(parents=True, exist_ok=True)
    for path in SCHEMAS.glob("*.json"):
        path.unlink()
    for name, model in contracts().items():
        (SCHEMAS / f"{name}.json").write_text(render(model))
