"""The quality gate: what of an LLM's answer is the caption, and why it is refused.

The paper keeps every line up to its newline (section 3.1). A small model drifts off the concept, repeats itself, talks
about its task and runs into the token limit, so we refuse such texts and draw again; every refusal is counted by its
reason. Everything here is a pure function of texts: the same answers give the same captions on every machine.
"""

from __future__ import annotations

from synfarm_caption_api.gate.cleaning import clean
from synfarm_caption_api.gate.features import names_second, near_scores, scores
from synfarm_caption_api.gate.kept import KeptCaptions
from synfarm_caption_api.gate.naming import names_concept
from synfarm_caption_api.gate.refusing import refuse
from synfarm_caption_api.gate.words import normal_form

__all__ = ["KeptCaptions", "clean", "names_concept", "names_second", "near_scores", "normal_form", "refuse", "scores"]
