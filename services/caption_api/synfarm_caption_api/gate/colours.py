"""Names of things that are names of colours too, and where in a caption they are only that.

In doubt a word names the thing: a caption that is kept wrongly costs one image group, a rule that refuses good ones
thins a concept out.
"""

from __future__ import annotations

import re

from synfarm_caption_api.gate.words import FUNCTION_WORDS

__all__ = ["is_colour_here", "may_be_colour"]

_MOSTLY_COLOUR = frozenset({"orange", "violet", "lilac", "indigo", "turquoise", "teal"})
"""Before a noun these tell its colour, unless the noun is a part or a product of the thing."""
_SOMETIMES_COLOUR = frozenset(
    {
        "almond", "amber", "amethyst", "apricot", "aqua", "avocado", "bronze", "champagne", "charcoal", "cherry",
        "chestnut", "chocolate", "cinnamon", "coffee", "copper", "coral", "cream", "emerald", "fuchsia", "ginger",
        "gold", "honey", "ivory", "jade", "lavender", "lemon", "lime", "mahogany", "mint", "mustard", "olive",
        "peach", "pearl", "pistachio", "plum", "pumpkin", "raspberry", "rose", "ruby", "salmon", "sand", "sapphire",
        "silver", "strawberry", "tan", "tangerine", "wine",
    }
)  # fmt: skip
"""Before a noun these mostly tell its material or kind (olive tree, salmon steak); of some nouns only the colour."""
_PARTS = frozenset(
    {
        "blossom", "blossoms", "bush", "bushes", "cake", "candy", "crate", "drink", "flower", "flowers", "fruit",
        "fruits", "garden", "grove", "groves", "half", "halves", "juice", "leaf", "leaves", "marmalade", "orchard",
        "orchards", "peel", "peels", "petal", "petals", "pie", "pulp", "rind", "sauce", "seed", "seeds", "segment",
        "segments", "slice", "slices", "smoothie", "soda", "sorbet", "stem", "stems", "tart", "tree", "trees",
        "wedge", "wedges", "zest",
    }
)  # fmt: skip
_COLOURED_THINGS = frozenset(
    {
        "backdrop", "background", "balloon", "bicycle", "bike", "bird", "blanket", "blouse", "bus", "bunny", "car",
        "carpet", "cat", "coat", "couch", "cow", "curtain", "curtains", "cushion", "dog", "door", "dress", "fur",
        "glow", "gown", "hair", "hat", "horse", "hue", "jacket", "kitten", "labrador", "light", "lights", "lipstick",
        "paint", "pants", "pony", "poodle", "puppy", "rug", "scarf", "shade", "shirt", "shirts", "shoes", "skirt",
        "sky", "sofa", "stripes", "suit", "sunset", "sweater", "tie", "tone", "trousers", "truck", "umbrella",
        "uniform", "van", "walls", "wall",
    }
)  # fmt: skip
_COLOURS = frozenset(
    {
        "beige", "black", "blue", "bronze", "brown", "cyan", "gold", "golden", "gray", "green", "grey", "magenta",
        "maroon", "orange", "pink", "purple", "red", "scarlet", "silver", "tan", "teal", "turquoise", "violet",
        "white", "yellow",
    }
)  # fmt: skip
_COLOUR_CUES = frozenset(
    {
        "bellied", "breasted", "colored", "coloured", "furred", "haired", "hued", "painted", "spotted", "striped",
        "tinged", "tinted", "toned",
    }
)  # fmt: skip
_VERBS = frozenset(
    {
        "balances", "bursts", "casts", "drops", "fall", "falls", "floats", "glistens", "glows", "grows", "hang",
        "hangs", "lay", "lays", "leans", "lie", "lies", "rest", "rests", "rolls", "shines", "shows", "sit", "sits",
        "sleeps", "spills", "stand", "stands", "sticks", "swims", "jumps", "leaps", "looks",
    }
)  # fmt: skip
_SAID_OF_SOMETHING = re.compile(
    r"(?:\b(?:is|are|was|were|turns?|turned|turning|glows?|glowing)"
    r"|\b(?:dressed|clad|painted|colou?red|dyed|lit|tinted|bathed)(?: all)?(?: in| with)?"
    r"|\b(?:colou?rs?|shades?|hues?|tints?|tones?)(?: of| in)?"
    r")(?: (?:bright|dark|deep|light|pale|vivid))? $"
)
_FOLLOWING = re.compile(r"(,?) ?([^\W_]+)?(?: ([^\W_]+))?")


def may_be_colour(phrase: str) -> bool:
    """Whether the phrase, in lower case, is a word for a thing and for its colour."""
    return phrase in _MOSTLY_COLOUR or phrase in _SOMETIMES_COLOUR


def is_colour_here(text: str, start: int, end: int) -> bool:
    """Whether ``text[start:end]``, in lower case, tells the colour of something else: an orange cat, painted orange.

    An orange on a table, orange slices, an orange hanging from a tree and oranges are the thing.
    """
    if _SAID_OF_SOMETHING.search(text, max(0, start - 40), start):
        return True
    match = _FOLLOWING.match(text, end)
    comma, word, after = match.groups() if match else ("", None, None)
    if word is None:
        return False
    if word in _COLOURS or word in _COLOUR_CUES:
        return True
    if comma:
        return False
    if word in {"and", "or"}:
        return after in _COLOURS
    if word in FUNCTION_WORDS:
        return False
    if text[start:end] in _MOSTLY_COLOUR:
        return word not in _PARTS and word not in _VERBS and not word.endswith(("ing", "ed"))
    return word in _COLOURED_THINGS
