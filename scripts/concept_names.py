"""How class names of the data sets are said in words: paths become phrases, with other ways to say them."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "BUILT_BY_HAND",
    "Row",
    "from_path",
    "readable",
    "singular",
    "spoken_aircraft",
    "spoken_car",
    "spoken_pet",
]


@dataclass(frozen=True)
class Row:
    """A concept's name and the other words that count as naming it."""

    name: str
    synonyms: tuple[str, ...] = ()


BUILT_BY_HAND = {
    "face": "people",
    "bass": "freshwater fish",
    "garfield": "toys",
    "snoopy": "toys",
    "buddha": "temples and palaces",
    "brain": "science and medicine",
    "headphone": "electronics",
    "yin and yang symbol": "jewelry and clocks",
    "dollar bill": "office things",
    "hawksbill": "sea fish",
    "ewer": "tableware",
    "stop sign": "street furniture",
    "joshua tree": "trees",
    "brontosaurus": "dinosaurs and fossils",
    "nautilus": "sea creatures",
    "tick": "spiders and scorpions",
    "cup": "tableware",
    "beaver": "small mammals",
    "panda": "wolves and bears",
    "watch": "jewelry and clocks",
    "pyramid": "temples and palaces",
    "lotus": "flowers",
    "barrel": "bins and baskets",
    "chair": "furniture",
    "umbrella": "shoes and bags",
    "ant": "insects and snails",
    "ceiling fan": "furniture",
    "side of a car": "cars",
    "body of a cougar": "wild cats",
    "face of a cougar": "wild cats",
    "head of a crocodile": "frogs and turtles",
    "head of a flamingo": "waterfowl and waders",
    "inline skate": "camp and gym",
    "wild cat": "wild cats",
    "anchor": "boats and ships",
    "chandelier": "lamps and ornaments",
    "gramophone": "electronics",
    "menorah": "lamps and ornaments",
    "pigeon": "birds",
    "sea horse": "sea fish",
    "windsor chair": "furniture",
    "cellphone": "electronics",
    "motorbike": "cycles and carts",
}
"""Lists of settings for names of Caltech-101 that WordNet does not have, or has in another sense first."""

_AS_SAID = {
    "side of a car": ("side of a car", ("car",)),
    "body of a cougar cat": ("body of a cougar", ("cougar", "puma", "mountain lion")),
    "face of a cougar cat": ("face of a cougar", ("cougar", "puma", "mountain lion")),
    "head of a crocodile": ("head of a crocodile", ("crocodile head",)),
    "head of a flamingo": ("head of a flamingo", ("flamingo head",)),
    "snoopy (cartoon beagle)": ("snoopy", ("cartoon beagle",)),
    "binocular": ("binocular", ("binoculars",)),
    "headphone": ("headphone", ("headphones",)),
    "rhino": ("rhino", ("rhinoceros",)),
    "sea horse": ("sea horse", ("seahorse",)),
    "water lilly": ("water lily", ("water lilly",)),
    "hawksbill": ("hawksbill", ("hawksbill turtle", "sea turtle", "turtle")),
    "motorbike": ("motorbike", ("motorcycle",)),
    "cup cakes": ("cupcakes", ("cup cakes",)),
    "creme brulee": ("creme brulee", ("crème brûlée",)),
    "donuts": ("donuts", ("doughnuts", "doughnut")),
    "baby back ribs": ("baby back ribs", ("ribs",)),
    "deviled eggs": ("deviled eggs", ("devilled eggs", "deviled egg")),
    "lobster roll sandwich": ("lobster roll sandwich", ("lobster roll",)),
    "desert-rose": ("desert rose", ("desert-rose",)),
    "bromelia": ("bromelia", ("bromeliad",)),
    "californian poppy": ("californian poppy", ("California poppy",)),
    "barbeton daisy": ("barbeton daisy", ("barberton daisy", "gerbera")),
}
"""Names that are misspelt, or that a caption would say in another way."""
_NO_SINGULAR = re.compile(r"(ss|us|is|ius|hummus|molasses|eggs benedict|couscous|scissors)$")
_ONE = {"dishes": "dish", "radishes": "radish", "sandwiches": "sandwich"}
_CATS = frozenset(
    {
        "Abyssinian", "Bengal", "Birman", "Bombay", "British Shorthair", "Egyptian Mau", "Maine Coon", "Persian",
        "Ragdoll", "Russian Blue", "Siamese", "Sphynx",
    }
)  # fmt: skip
_BODIES = re.compile(
    r" (Sedan|SUV|Coupe|Convertible|Hatchback|Wagon|Minivan|Van|Cargo Van|Crew Cab|Extended Cab|Regular Cab|Quad Cab|"
    r"Club Cab|SuperCab|Passenger Van|Roadster)$"
)
_MAKERS = (
    (r"7[0-9]7-", "Boeing"),
    (r"A3[0-9]{2}", "Airbus"),
    (r"ATR-", ""),
    (r"An-", "Antonov"),
    (r"BAE", "British Aerospace"),
    (r"C-130", "Lockheed"),
    (r"(C-47|DC-)", "Douglas"),
    (r"(CRJ-|Challenger|Global)", "Bombardier"),
    (r"(DH-|DHC-)", "de Havilland"),
    (r"DR-", "Robin"),
    (r"(E-1|EMB|ERJ)", "Embraer"),
    (r"F/A-18", "McDonnell Douglas"),
    (r"F-16", "General Dynamics"),
    (r"Falcon", "Dassault"),
    (r"Hawk", "BAE Systems"),
    (r"Il-", "Ilyushin"),
    (r"L-1011", "Lockheed"),
    (r"MD-", "McDonnell Douglas"),
    (r"Metroliner", "Fairchild"),
    (r"Model B200", "Beechcraft"),
    (r"PA-", "Piper"),
    (r"SR-20", "Cirrus"),
    (r"Spitfire", "Supermarine"),
    (r"Tornado", "Panavia"),
    (r"Tu-", "Tupolev"),
    (r"Yak-", "Yakovlev"),
)
_BEFORE = frozenset(
    {
        "natural", "urban", "sand", "wild", "cultivated", "broadleaf", "needleleaf", "block", "fan", "plunge",
        "hockey", "performance", "rodeo", "baseball", "football", "soccer", "public", "office",
    }
)  # fmt: skip
"""Kinds of a place that stand before it in English: a wild field."""
_SPELT = {
    "archaelogical excavation": "archaeological excavation",
    "carrousel": "carousel",
    "kindergarden classroom": "kindergarten classroom",
    "toyshop": "toy shop",
    "oilrig": "oil rig",
    "childs room": "child's room",
    "butchers shop": "butcher's shop",
    "dentists office": "dentist's office",
    "veterinarians office": "veterinarian's office",
    "artists loft": "artist's loft",
    "batters box": "batter's box",
    "mountain snowy": "snowy mountain",
    "temple asia": "temple in Asia",
    "temple east asia": "temple in East Asia",
    "temple south asia": "temple in South Asia",
    "theater indoor procenium": "theater indoor proscenium",
    "videostore": "video store",
    "thriftshop": "thrift shop",
    "underwater ocean deep": "deep ocean underwater",
    "moat water": "moat",
}


def readable(name: str) -> Row:
    """Words with spaces; misspelt names mended, the old spelling kept as a synonym."""
    plain = " ".join(name.replace("_", " ").split())
    return Row(*_AS_SAID.get(plain, (plain, ())))


def singular(row: Row) -> Row:
    """With the singular among the synonyms of a name in the plural: a caption of 'donuts' may show one donut."""
    name = row.name
    if not name.endswith("s") or _NO_SINGULAR.search(name):
        return row
    before, space, last = name.rpartition(" ")
    one = _ONE.get(last) or (last[:-3] + "y" if last.endswith("ies") else last[:-1])
    return Row(name, (*row.synonyms, before + space + one))


def spoken_car(name: str) -> Row:
    """'Audi S4 Sedan 2007' is also a '2007 Audi S4 Sedan', an 'Audi S4 Sedan' and an 'Audi S4'."""
    model, _, year = name.rpartition(" ")
    found = [f"{year} {model}", model]
    bare = _BODIES.sub("", model)
    if len(bare.split()) > 1:
        found.append(bare)
    return Row(name, tuple(dict.fromkeys(word for word in found if word != name)))


def spoken_aircraft(name: str) -> Row:
    """With its maker, and by its family: '737-300' is also a 'Boeing 737-300' and a 'Boeing 737'."""
    maker = next((maker for pattern, maker in _MAKERS if re.match(pattern, name)), "")
    found = [f"{maker} {name}"] if maker else []
    family = re.match(r"(7[0-9]7|A3[0-9]0)-", name)
    if family:
        found += [f"{maker} {family[1]}", family[1]]
    return Row(name, tuple(found))


def spoken_pet(name: str) -> Row:
    """Breeds of cats and dogs, with and without the word."""
    found = [f"{name} cat"] if name in _CATS else [f"{name} dog"]
    if name == "German Shorthaired":
        found.append("German Shorthaired Pointer")
    if name == "Saint Bernard":
        found.append("St. Bernard")
    if name == "Wheaten Terrier":
        found.append("Soft-coated Wheaten Terrier")
    return Row(name, tuple(found))


def from_path(path: str) -> Row:
    """'church/indoor' is a 'church indoor', also an 'indoor church' and a 'church'; 'field/wild' a 'wild field'."""
    place, _, kind = (part.replace("_", " ") for part in path.partition("/"))
    if not kind:
        name, others = place, []
    elif kind in _BEFORE:
        name, others = f"{kind} {place}", [place]
    else:
        name, others = f"{place} {kind}", [f"{kind} {place}", place]
    others = [word for word in others if word != "underwater"]
    spelt = _SPELT.get(name, name)
    return Row(spelt, tuple(word for word in dict.fromkeys((name, *others)) if word != spelt))
