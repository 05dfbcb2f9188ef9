"""Whose work is in the pictures and the captions, and under which terms it may be passed on."""

from __future__ import annotations

from dataclasses import dataclass

from synfarm.concepts.licences import COLLAGE_LICENCES
from synfarm.contracts.imports import ImportRef
from synfarm.contracts.jobs import RenderSettings

__all__ = ["Credit", "credits_for"]


@dataclass(frozen=True, slots=True)
class Credit:
    """One row: a part, what it is used for, its licence and what must be said of it."""

    part: str
    use: str
    licence: str
    url: str | None
    text: str


_APACHE = "https://www.apache.org/licenses/LICENSE-2.0"
_MODELS: tuple[tuple[str, str, str, str], ...] = (
    ("smollm2", "Apache-2.0", _APACHE, "SmolLM2 by Hugging Face (Ben Allal et al., 2025)."),
    ("mistral-7b", "Apache-2.0", _APACHE, "Mistral 7B by Mistral AI."),
)
"""Beginnings of model names (folder left out, lower case) whose licence is known."""


def credits_for(render: RenderSettings | None, llm_model: str | None, source: ImportRef | None = None) -> list[Credit]:
    """Artwork or image model, then language model, then the code; what is not known says where to look.

    Of imported images whose work they are is known to who imported them alone.
    """
    found: list[Credit] = []
    if source is not None:
        text = "Imported: whose pictures and captions they are, and who may share them, their source must tell."
        found.append(Credit(source.where, "pictures and captions", "see their source", None, text))
    elif render is None or render.renderer == "collage":
        found += [
            Credit(one.package, "artwork of the pictures", one.licence, one.url, one.attribution)
            for one in COLLAGE_LICENCES
        ]
    else:
        text = "The images fall under this model's terms; read its card before you share them."
        found.append(Credit(render.model or render.family, "drew the pictures", "see its model card", None, text))
    if source is None:
        found.append(_language_model(llm_model))
    text = "The method is SynCLR (Tian et al., Learning Vision from Models Rivals Learning Vision from Data, 2023)."
    found.append(Credit("synfarm", "farm and trainer", "Apache-2.0", _APACHE, text))
    return found


def _language_model(name: str | None) -> Credit:
    use, base = "wrote the captions", (name or "").rpartition("/")[2].casefold()
    for beginning, licence, url, text in _MODELS:
        if base.startswith(beginning):
            return Credit(name or beginning, use, licence, url, text)
    text = "The captions fall under this model's terms; read its card before you share them."
    return Credit(name or "language model", use, "see its model card", None, text)
