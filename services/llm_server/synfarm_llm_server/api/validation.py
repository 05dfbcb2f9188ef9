"""Checks a request against the limits and turns it into an order for the engine, with the messages clients know."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from synfarm_llm_server.api.errors import invalid
from synfarm_llm_server.api.schemas import Parameters
from synfarm_llm_server.engine.request import Generation, Sampling, TokenEvent
from synfarm_llm_server.settings import LlmSettings

__all__ = ["CheckedRequest", "check"]

_DEFAULT_NEW_TOKENS = 100


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A valid request; ``order`` makes one generation of it."""

    inputs: str
    prompt: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling
    stop: tuple[str, ...]
    best_of: int
    seed_given: bool
    details: bool
    prefill_details: bool
    full_text: bool

    def order(self, emit: Callable[[TokenEvent | Exception], None], *, seed: int | None = None) -> Generation:
        sampling = self.sampling
        if seed is not None:
            sampling = replace(sampling, seed=seed)
        return Generation(self.prompt, self.max_new_tokens, sampling, emit, self.stop, self.prefill_details)


def check(
    inputs: str, given: Parameters, settings: LlmSettings, tokenizer: Tokenizer, *, stream: bool
) -> CheckedRequest:
    """Validate one request.

    Raises:
        TgiError: 422, with what is wrong and the limit.
    """
    best_of = given.best_of if given.best_of is not None else 1
    sampling = _sampling(given, settings, best_of)
    if stream and best_of > 1:
        raise invalid("`best_of` != 1 is not supported when streaming tokens")
    if stream and given.decoder_input_details:
        raise invalid("`decoder_input_details` == true is not supported when streaming tokens")
    stop = tuple(given.stop or ())
    if len(stop) > settings.max_stop_sequences:
        raise invalid(f"`stop` supports up to {settings.max_stop_sequences} stop sequences. Given: {len(stop)}")
    if "" in stop:
        raise invalid("`stop` must not hold an empty string")
    prompt, new_tokens = _lengths(inputs, given, settings, tokenizer)
    return CheckedRequest(
        inputs=inputs,
        prompt=prompt,
        max_new_tokens=new_tokens,
        sampling=sampling,
        stop=stop,
        best_of=best_of,
        seed_given=given.seed is not None,
        details=bool(given.details or given.decoder_input_details),
        prefill_details=bool(given.decoder_input_details),
        full_text=bool(given.return_full_text),
    )


def _lengths(
    inputs: str, given: Parameters, settings: LlmSettings, tokenizer: Tokenizer
) -> tuple[tuple[int, ...], int]:
    if not inputs:
        raise invalid("`inputs` cannot be empty")
    truncate = given.truncate
    if truncate is not None and not 0 < truncate <= settings.max_input_tokens:
        limit = settings.max_input_tokens
        raise invalid(f"`truncate` must be strictly positive and less than {limit}. Given: {truncate}")
    if given.max_new_tokens is not None and given.max_new_tokens <= 0:
        raise invalid("`max_new_tokens` must be strictly positive")
    ids = tokenizer.encode(inputs).ids
    if truncate is not None:
        ids = ids[-truncate:]
    if not ids:
        raise invalid("`inputs` cannot be empty")
    count, total = len(ids), settings.max_total_tokens
    new_tokens = given.max_new_tokens or max(1, min(_DEFAULT_NEW_TOKENS, total - count))
    if count + new_tokens > total:
        raise invalid(
            f"`inputs` tokens + `max_new_tokens` must be <= {total}. "
            f"Given: {count} `inputs` tokens and {new_tokens} `max_new_tokens`"
        )
    if count > settings.max_input_tokens:
        raise invalid(f"`inputs` must have less than {settings.max_input_tokens} tokens. Given: {count}")
    return tuple(ids), new_tokens


def _sampling(given: Parameters, settings: LlmSettings, best_of: int) -> Sampling:
    if given.watermark:
        raise invalid("`watermark` is not supported by this server; leave it out")
    if given.grammar is not None:
        raise invalid("`grammar` is not supported by this server; leave it out and parse the text")
    if given.adapter_id is not None:
        raise invalid("`adapter_id` is not supported by this server; leave it out")
    if given.temperature is not None and given.temperature <= 0:
        raise invalid("`temperature` must be strictly positive")
    if given.repetition_penalty is not None and given.repetition_penalty <= 0:
        raise invalid("`repetition_penalty` must be strictly positive")
    if given.frequency_penalty is not None and not -2 <= given.frequency_penalty <= 2:
        raise invalid("`frequency_penalty` must be >= -2.0 and <= 2.0")
    if given.top_p is not None and not 0 < given.top_p < 1:
        raise invalid("`top_p` must be > 0.0 and < 1.0")
    if given.typical_p is not None and not 0 < given.typical_p < 1:
        raise invalid("`typical_p` must be > 0.0 and < 1.0")
    if given.top_k is not None and given.top_k <= 0:
        raise invalid("`top_k` must be strictly positive")
    top_n = given.top_n_tokens or 0
    if not 0 <= top_n <= settings.max_top_n_tokens:
        raise invalid(f"`top_n_tokens` must be >= 0 and <= {settings.max_top_n_tokens}. Given: {top_n}")
    warped = given.temperature not in {None, 1.0} or given.top_k or given.top_p or given.typical_p
    sample = given.do_sample or bool(warped)
    if not 0 < best_of <= settings.max_best_of:
        raise invalid(f"`best_of` must be > 0 and <= {settings.max_best_of}. Given: {best_of}")
    if best_of > 1 and not sample:
        raise invalid("you must use sampling when `best_of` is > 1")
    if best_of > 1 and given.seed is not None:
        raise invalid("`seed` must not be set when `best_of` > 1")
    return Sampling(
        seed=given.seed if given.seed is not None else secrets.randbits(63),
        sample=sample,
        temperature=given.temperature or 1.0,
        top_k=given.top_k,
        top_p=given.top_p,
        typical_p=given.typical_p,
        repetition_penalty=given.repetition_penalty or 1.0,
        frequency_penalty=given.frequency_penalty or 0.0,
        top_n_tokens=top_n,
    )
