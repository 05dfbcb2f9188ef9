"""What the collage renderer understands beside concepts: words of colour, size, count, relation and background."""

from __future__ import annotations

from collections.abc import Mapping

from synfarm_render_worker.collage.scene import Relation, Size

__all__ = ["BACKGROUNDS", "BACKGROUND_HINTS", "COLOURS", "CONTAINERS", "COUNTS", "DEPICTIONS", "RELATIONS", "SIZES",
           "SURFACES", "WEARABLE"]  # fmt: skip

COLOURS: Mapping[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet", "maroon", "cherry red"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden", "gold", "lemon yellow"),
    "green": ("green", "emerald", "lime green", "olive green"),
    "turquoise": ("turquoise", "teal", "cyan", "aqua"),
    "blue": ("blue", "navy", "azure"),
    "purple": ("purple", "violet", "magenta"),
    "pink": ("pink", "rose pink"),
    "brown": ("brown", "tan", "beige", "bronze"),
    "black": ("black", "dark-colored"),
    "white": ("white", "ivory", "cream-colored"),
    "gray": ("gray", "grey", "silver"),
}
"""Twelve colours and the words for each."""

SIZES: Mapping[Size, tuple[str, ...]] = {
    "tiny": ("tiny", "miniature", "very small"),
    "small": ("small", "little", "baby"),
    "large": ("large", "big", "tall"),
    "huge": ("huge", "giant", "enormous", "massive", "gigantic", "very large", "very big"),
}

COUNTS: Mapping[int, tuple[str, ...]] = {
    1: ("a", "an", "one", "1", "single", "the", "this", "another", "every", "each"),
    2: ("two", "2", "pair of", "couple of", "both"),
    3: ("three", "3", "trio of", "few"),
    4: ("four", "4", "several"),
    5: ("five", "5", "six", "seven", "eight", "nine", "ten", "dozen", "many", "group of", "bunch of", "flock of",
        "herd of", "school of", "pack of", "row of", "dozens of", "lots of", "lot of", "pile of", "cluster of"),
}  # fmt: skip
"""Five stands for all that is more. ``the`` counts as one before a singular only."""

RELATIONS: Mapping[Relation, tuple[str, ...]] = {
    "in": ("in", "inside", "inside of", "into", "within"),
    "on": ("on", "on top of", "atop", "onto", "upon", "riding"),
    "under": ("under", "below", "beneath", "underneath"),
    "above": ("above", "over", "flying over", "high above"),
    "beside": ("beside", "next to", "by", "near", "alongside", "close to", "along with", "with", "and",
               "leaning against", "against", "at the side of", "by the side of", "on the side of"),
    "left of": ("left of", "to the left of", "on the left of", "at the left of", "on the left side of"),
    "right of": ("right of", "to the right of", "on the right of", "at the right of", "on the right side of"),
    "behind": ("behind", "in back of", "at the back of"),
    "in front of": ("in front of", "before", "facing"),
    "between": ("between", "in between"),
    "among": ("among", "amongst", "amid", "surrounded by", "in the middle of"),
    "around": ("around", "all around", "surrounding", "circling"),
    "far from": ("far from", "away from", "far away from", "far behind"),
    "wearing": ("wearing", "dressed in", "wears"),
    "holding": ("holding", "carrying", "holds", "carries", "playing", "eating"),
}  # fmt: skip
"""The relation of what stands before the word to what stands after it. With clothes, 'in' and 'with' mean wearing."""

BACKGROUNDS: Mapping[str, tuple[str, ...]] = {
    "beach": ("beach", "seashore", "shore", "seaside", "sand", "coast", "island"),
    "forest": ("forest", "woods", "woodland", "jungle", "rainforest", "trees"),
    "snow": ("snow", "snowy", "winter", "ice", "icy", "snowfall", "antarctica", "iceberg"),
    "city street": ("city", "street", "road", "downtown", "town", "urban", "sidewalk", "highway", "city street",
                    "parking lot", "buildings", "alley", "driveway", "track", "tracks", "station"),
    "meadow": ("meadow", "field", "grass", "grassy", "lawn", "park", "pasture", "countryside", "green field", "zoo"),
    "kitchen": ("kitchen", "stove", "oven", "sink", "countertop", "kitchen counter", "counter"),
    "desert": ("desert", "dune", "dunes", "savanna", "savannah"),
    "night": ("night", "night sky", "stars", "starry", "moon", "moonlit", "moonlight", "dark sky", "space", "midnight"),
    "underwater": ("underwater", "coral reef", "reef", "aquarium", "under the sea", "under water", "seabed"),
    "water": ("ocean", "sea", "lake", "river", "pond", "water", "waves", "harbor", "stream", "pool"),
    "mountains": ("mountain", "mountains", "hill", "hills", "hillside", "cliff", "rocks", "valley"),
    "living room": ("living room", "couch", "sofa", "room", "rug", "carpet", "bedroom", "bed", "floor", "fireplace",
                    "interior", "indoors"),
    "garden": ("garden", "flower bed", "flowers", "backyard", "yard", "flower garden", "bushes", "hedge"),
    "sky": ("sky", "blue sky", "clouds", "cloud", "air"),
    "sunset": ("sunset", "sunrise", "dusk", "dawn", "evening"),
    "rain": ("rain", "rainy", "storm", "stormy", "puddle", "rainstorm", "fog", "foggy", "mist", "misty"),
    "table": ("tablecloth", "table", "wooden table", "desk", "plate", "shelf", "cutting board", "tray",
              "picnic table", "dining table", "restaurant", "cafe"),
    "farm": ("farm", "barn", "farmyard", "stable", "ranch", "farmland", "hay"),
    "studio": ("studio", "plain background", "background"),
    "white": ("white background", "plain white background", "white backdrop"),
    "black": ("black background", "plain black background", "dark background", "black backdrop"),
}  # fmt: skip

BACKGROUND_HINTS: Mapping[str, tuple[str, ...]] = {
    "beach": ("sandy",),
    "forest": ("leaves", "branch", "branches"),
    "snow": ("frozen",),
    "desert": ("dry",),
    "underwater": ("tank",),
    "mountains": ("rocky", "rock"),
    "living room": ("window", "wall"),
    "garden": ("bush",),
    "sky": ("cloudy", "sunny day", "sunny", "sunlight"),
    "table": ("bowl",),
    "farm": ("fence",),
}
"""Words that tell of a place only where none of ``BACKGROUNDS`` stands: 'a sunny beach' is a beach."""

SURFACES = frozenset({"table"})
"""Concepts that are the ground, and no thing, where the caption says 'on' or 'at' of them."""

CONTAINERS = frozenset(
    {
        "backpack", "barrel", "basket", "bucket", "cardboard box", "coffee", "handbag", "jar", "money bag", "nest",
        "pickup truck", "purse", "shopping bag", "shopping cart", "suitcase", "trash can", "treasure chest", "truck",
        "vase",
    }
)  # fmt: skip
"""Concepts of which something may be said to be full: 'a basket of apples' shows apples, in a basket."""

DEPICTIONS = frozenset({"painting", "map", "book", "newspaper", "television"})
"""Concepts that, before an 'of', only frame what is shown: 'a painting of a dog' shows a dog."""

WEARABLE = frozenset(
    {
        "army helmet", "backpack", "baseball cap", "blouse", "coat", "crown", "dress", "glasses", "goggles",
        "graduation cap", "hard hat", "headphones", "kimono", "lab coat", "necklace", "necktie", "safety vest",
        "sari", "scarf", "sun hat", "sunglasses", "t-shirt", "top hat",
    }
)  # fmt: skip
