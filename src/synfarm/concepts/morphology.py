"""English plurals, as far as names of concepts need them."""

from __future__ import annotations

__all__ = ["is_plural_only", "plurals"]

_IRREGULAR = {
    "cactus": "cacti",
    "dice": "dice",
    "die": "dice",
    "elf": "elves",
    "fez": "fezzes",
    "foot": "feet",
    "fungus": "fungi",
    "goose": "geese",
    "hippopotamus": "hippopotami",
    "hoof": "hooves",
    "larva": "larvae",
    "loch": "lochs",
    "monarch": "monarchs",
    "oasis": "oases",
    "octopus": "octopi",
    "ox": "oxen",
    "person": "people",
    "quiz": "quizzes",
    "scarf": "scarves",
    "stomach": "stomachs",
}
_IRREGULAR_ENDS = {
    "calf": "calves",
    "child": "children",
    "half": "halves",
    "knife": "knives",
    "leaf": "leaves",
    "life": "lives",
    "loaf": "loaves",
    "man": "men",
    "mouse": "mice",
    "shelf": "shelves",
    "thief": "thieves",
    "tooth": "teeth",
    "wife": "wives",
    "wolf": "wolves",
}
"""Also of longer words: bookshelf, fisherman, dormouse."""
_NOT_MEN = frozenset(
    {"brahman", "caiman", "cayman", "german", "human", "norman", "ottoman", "roman", "shaman", "talisman"}
)
_ALSO_REGULAR = frozenset({"cactus", "fungus", "hippopotamus", "hoof", "larva", "octopus", "scarf"})
_INVARIANT = frozenset(
    {
        "aircraft", "bacon", "bamboo", "beef", "bison", "bread", "broccoli", "buffalo", "butter", "candy",
        "cattle", "cereal", "champagne", "cheese", "coffee", "corn", "curry", "deer", "elk", "fish", "garlic",
        "ginger", "goldfish", "gravel", "honey", "jellyfish", "lettuce", "lightning", "luggage", "maize", "milk",
        "money", "moose", "pasta", "peafowl", "popcorn", "porridge", "reindeer", "rice", "salad", "salmon",
        "sheep", "shrimp", "soap", "soup", "spacecraft", "spaghetti", "spinach", "squid", "steak", "stew", "sushi",
        "swine", "tempura", "trout", "wheat", "whiskey", "wine",
    }
)  # fmt: skip
"""Their plural may be the word itself; most have a regular one beside it."""
_PLURAL_ONLY = frozenset(
    {
        "binoculars", "chopsticks", "eyeglasses", "fireworks", "fries", "glasses", "goggles", "headphones",
        "jeans", "pants", "scissors", "shorts", "spectacles", "stairs", "sunglasses", "trousers", "trunks",
    }
)  # fmt: skip
"""One such thing is spoken of in the plural."""


def is_plural_only(phrase: str) -> bool:
    """Whether one of them already is a plural: scissors, jeans."""
    return _head(phrase.casefold())[1] in _PLURAL_ONLY


def plurals(phrase: str) -> tuple[str, ...]:
    """Plurals of a phrase's head noun in lower case, the usual one first: loaves of bread, fire trucks, mice."""
    before, head, after = _head(phrase.casefold())
    return tuple(f"{before}{form}{after}" for form in _forms(head))


def _head(phrase: str) -> tuple[str, str, str]:
    """What stands before the head noun, the noun, what stands after: of 'bow and arrow' the arrow."""
    head, of, rest = phrase.partition(" of ")
    before, space, noun = head.rpartition(" ")
    return before + space, noun, of + rest


def _forms(noun: str) -> tuple[str, ...]:
    if noun in _PLURAL_ONLY:
        return (noun,)
    if noun in _IRREGULAR:
        return (_IRREGULAR[noun], *(_regular(noun) if noun in _ALSO_REGULAR else ()))
    for end, many in _IRREGULAR_ENDS.items():
        if noun.endswith(end) and noun not in _NOT_MEN:
            return (noun.removesuffix(end) + many,)
    return (noun, *_regular(noun)) if noun in _INVARIANT else _regular(noun)


def _regular(noun: str) -> tuple[str, ...]:
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return (noun + "es",)
    if noun.endswith("y") and noun[-2:-1] not in set("aeiou"):
        return (noun[:-1] + "ies",)
    return (noun + "s", noun + "es") if noun.endswith("o") else (noun + "s",)
