"""A caption as tokens, without a vocabulary that would have to be fetched: its bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BEGIN", "END", "PADDING", "VOCABULARY", "encode_text"]

BEGIN, END, PADDING = 256, 257, 258
"""Above the bytes."""
VOCABULARY = 259


def encode_text(text: str, context: int) -> NDArray[np.int64]:
    """(context,): begin, the UTF-8 bytes of the text in lower case with single spaces, end, padding.

    What is too long is cut after a whole character; the end is always there.

    Args:
        context: at least 2.
    """
    data = " ".join(text.lower().split()).encode()
    whole = data[: context - 2].decode(errors="ignore").encode()
    tokens = np.full(context, PADDING, dtype=np.int64)
    tokens[: len(whole) + 2] = [BEGIN, *whole, END]
    return tokens
