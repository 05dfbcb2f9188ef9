"""What a reader of the page does about a problem, where the API's own hint speaks of its routes."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm.contracts.problems import Problem

__all__ = ["for_reader"]

_OF_THE_API = ("GET ", "POST ", "PUT ", 'Send "')
_CURES: Mapping[str, str] = {
    "unknown_concept": (
        "Below Own concepts is the list of what it can draw; of the sets it draws demo and collage. The renderer "
        "diffusers, under More, draws any concept, and needs a GPU worker, a model and a family."
    ),
    "backgrounds_missing": "Write own backgrounds for them, or give the template c a share as well.",
    "unknown_job": "The id stands beside the name on the job's page; captions are taken from a job of your own.",
    "job_not_ended": "Wait until it has ended; its page tells.",
    "job_ended": "Below is what an ended job can still do.",
    "job_cancelled": "Make a new job; below is what this one was made with.",
    "nothing_to_retry": "Extend the job to plan more captions.",
    "job_not_found": "The first page lists your jobs.",
    "llm_away": "Try again later.",
    "too_many_requests": "Wait, go back in the browser, and press the button again: what you typed is there.",
}
"""By code."""


def for_reader(problem: Problem) -> Problem:
    """The problem with a hint that can be followed on the page."""
    cure = _CURES.get(problem.code)
    if cure is None or not any(words in (problem.hint or "") for words in _OF_THE_API):
        return problem
    return problem.model_copy(update={"hint": cure})
