"""Answers about the task instead of to it: declining, explaining, asking back.

The phrases are of the kinds that SmolLM2-135M writes after a caption, and that chat models write instead of one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from synfarm.contracts.concepts import Concept
from synfarm_caption_api.gate.naming import without_concept

__all__ = ["talks_of_task"]

_TEXT = r"(?:caption|description|sentence|phrase|prompt|paragraph)s?"
_WORK = rf"(?:{_TEXT}|images?|pictures?|photos?|words?|texts?|examples?|concepts?|objects?|inputs?|items?)"
_I_AM = (
    r"a (?:large )?language|an (?:ai|artificial)|going to|just an?|looking for|not (?:able|sure|allowed)|sorry|unable"
    r"|afraid|trying to|writing|asking|glad|happy to|here to"
)
_I_DO = (
    r"can|cannot|can't|could|do not|don't|apologi[sz]e|understand|think|believe|hope|need|want|made|will not|won't"
    r"|(?:have|'ve) (?:no|been|written|made|created)|(?:will|would) (?:like|be|need|suggest|describe|give)"
)
_BEGINS = re.compile(
    r"(?:to add, |so,? |well, |but )?(?:"
    r"sorry\b|(?:my )?apologies\b|unfortunately\b|certainly\b|sure[,.!:]|of course[,.!]|okay[,.!]|absolutely[,.!]"
    rf"|i(?:'m| am) (?:{_I_AM})|i(?:'ll|'d) (?:like|be|need|suggest|describe|give)|i've |i (?:{_I_DO})\b"
    r"|as an? (?:ai|artificial intelligence|language model|assistant|chatbot)\b"
    r"|please\b|note(?::| that)|for example\b|let me\b|let's\b|if (?:you|i)\b"
    r"|you(?:'re| are| can| could| should| must| need)\b|(?:can|could|would|will|do) you\b"
    r"|how (?:can|would|do) (?:you|we|i)\b|what (?:do|would|is|are) (?:you|the|your)\b"
    rf"|in your (?:response|answer)|in this (?:task|exercise|{_WORK})|to summari[sz]e\b"
    rf"|here(?:'s| is| are) (?:[^\s]+ ){{0,4}}{_WORK}\b|(?:the )?(?:image|sentence|caption) is an image\b"
    r"|the (?:correct |right |final |best )?answer\b|answer:"
    rf"|these (?:{_WORK}|are (?:[^\s]+ ){{0,4}}{_WORK})"
    rf"|this (?:{_TEXT}|answer|is (?:just |only )?(?:a|an|one|the) (?:\w+ )?example)"
    rf"|the (?:above|following|given|original|previous|corrected|correct|provided) {_WORK}"
    rf"|the {_WORK} (?:above|below|that best|you|can be|should|requires?|needs)"
    rf"|the {_WORK} is (?:more|made|already|incorrect|correct)"
    rf"|(?:describe|write|generate|create|provide|choose|complete|translate|rewrite) (?:an?|the|your|one|this)\b)"
)
_ANYWHERE = re.compile(
    r"\b(?:language model|as an ai|ai assistant|i cannot|i can't|i'm sorry|i am sorry|i'm unable|i am unable"
    r"|i apologi[sz]e|cannot (?:generate|create|provide|describe|assist|help|fulfil)"
    rf"|in (?:just )?one {_TEXT}|(?:this|these|each) {_TEXT}|the (?:above|following|given|provided|original) {_WORK}"
    rf"|(?:describe|describing) (?:the|an|this|your) {_WORK}|here(?:'s| is) an image|the image is an image"
    r"|image description|(?:the|an?) (?:object|place|texture|concept) (?:it shows|shown|given|in question)"
    r"|grammatical(?:ly)?|let me know|hope this helps|feel free|further assistance)\b"
)
_SIGNS_OF_IT = frozenset(
    {
        "absolutely", "ai", "answer", "apologies", "apologise", "apologize", "artificial", "assistance", "assistant",
        "cannot", "caption", "captions", "certainly", "chatbot", "choose", "complete", "concept", "concepts",
        "course", "create", "describe", "describing", "description", "descriptions", "example", "examples",
        "exercise", "feel", "generate", "given", "grammatical", "grammatically", "helps", "here", "here's", "how",
        "i", "i'd", "i'll", "i'm", "i've", "if", "image", "images", "input", "inputs", "item", "items", "know",
        "language", "let", "let's", "note", "object", "objects", "okay", "paragraph", "paragraphs", "photo", "photos",
        "phrase", "phrases", "picture", "pictures", "place", "please", "prompt", "prompts", "provide", "response",
        "rewrite", "sentence", "sentences", "shown", "shows", "sorry", "summarise", "summarize", "sure", "task",
        "text", "texts", "texture", "translate", "unfortunately", "what", "word", "words", "write", "you", "you're",
        "your",
    }
)  # fmt: skip
"""Each phrase above holds one of them, so that most captions need no search: a test holds this."""


def talks_of_task(caption: str, words: Sequence[str], concept: Concept) -> bool:
    """Whether the text is about captions and not one; the concept's own names do not count."""
    if "’" in caption:
        caption, words = caption.replace("’", "'"), [word.replace("’", "'") for word in words]
    if _SIGNS_OF_IT.isdisjoint(words) or not _says_so(caption.casefold()):
        return False
    return _says_so(without_concept(caption, concept).strip())


def _says_so(text: str) -> bool:
    return _BEGINS.match(text) is not None or _ANYWHERE.search(text) is not None
