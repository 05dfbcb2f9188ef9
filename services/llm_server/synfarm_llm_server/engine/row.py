"""One row of the batch: what it has read, what it has written, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from synfarm_llm_server.engine.request import Finish, FinishReason, Generation, Token, TokenEvent
from synfarm_llm_server.engine.sampler import Choice
from synfarm_llm_server.engine.text import RowText
from synfarm_llm_server.model.loading import LoadedModel

__all__ = ["Row"]


@dataclass(slots=True)
class Row:
    """State of one generation between steps."""

    order: Generation
    model: LoadedModel
    text: RowText
    cached: int = 0
    """Tokens whose keys and values are in the row's slot."""
    produced: list[int] = field(default_factory=list)
    prefill: list[Token] = field(default_factory=list)
    done: bool = False

    @classmethod
    def of(cls, order: Generation, model: LoadedModel) -> Row:
        return cls(order, model, RowText(model.tokenizer, order.stop, model.special_ids))

    @property
    def history(self) -> list[int]:
        return [*self.order.prompt, *self.produced]

    def unread(self) -> tuple[int, ...]:
        """Prompt tokens that no pass has read yet."""
        return self.order.prompt[self.cached :]

    def token(self, token: int, logprob: float | None, text: str | None = None) -> Token:
        shown = self.model.tokenizer.decode([token], skip_special_tokens=False) if text is None else text
        return Token(token, shown, logprob, token in self.model.special_ids)

    def accept(self, choice: Choice) -> None:
        """Take the chosen token, tell the requester, and end if this was the last."""
        self.produced.append(choice.id)
        ended = choice.id in self.model.end_ids
        full = len(self.produced) >= self.order.max_new_tokens
        piece = self.text.add(choice.id, last=ended or full)
        # A special token shows its own name in the stream; clients leave tokens marked special out of the text.
        shown = piece if choice.id not in self.model.special_ids or piece else None
        reason: FinishReason | None = None
        if self.text.stopped_by is not None:
            reason = "stop_sequence"
        elif ended:
            reason = "eos_token"
        elif full:
            reason = "length"
        finish = Finish(reason, self.text.text, self.text.stopped_by, tuple(self.prefill)) if reason else None
        self.done = finish is not None
        top = tuple(self.token(i, logprob) for i, logprob in choice.top)
        event = TokenEvent(len(self.produced), self.token(choice.id, choice.logprob, shown), top, finish)
        self.order.emit(event)
