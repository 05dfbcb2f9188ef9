"""Writes the concept sets that ship from packages that hold their class names: src/synfarm/concepts/data/*.json.

    python -m pip install --no-deps --target /tmp/names clip-benchmark==1.6.2 mmpretrain==1.2.0 \
        tensorflow-datasets==4.9.10 timm==1.0.31
    apt-get install wordnet-base        # or unpack it somewhere
    python scripts/build_concept_sets.py --packages /tmp/names --wordnet /usr/share/wordnet

The packages are read as files; none is imported. The same versions give the same bytes. Lists of settings
(settings.json) are written by hand and only checked here.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from concept_names import BUILT_BY_HAND, Row, from_path, readable, singular, spoken_aircraft, spoken_car, spoken_pet
from wordnet_nouns import WordNet

DATA = Path(__file__).parent.parent / "src" / "synfarm" / "concepts" / "data"
GROUPS = Path(__file__).with_name("concept_groups.txt")
CLIP, MMP = "PyPI clip-benchmark 1.6.2", "PyPI mmpretrain 1.2.0"
TFDS, TIMM, WN = "PyPI tensorflow-datasets 4.9.10", "PyPI timm 1.0.31", "WordNet 3.0 (Debian wordnet-base 3.0-37)"
PERSON = "person.1"
RARER = Path(__file__).with_name("in21k_rarer.txt")
IN21K = 13_000
"""Concepts of ``in21k``: the paper takes the 13k most frequent classes."""
TOP = ("entity.1", "physical_entity.1", "object.1", "whole.2", "abstraction.6", "matter.3", "thing.12")
"""Hypernyms from here on say nothing of a picture."""
MOST_SYNONYMS = 12


@dataclass(frozen=True)
class Built:
    """A set as its file holds it; ``groups`` names the list of settings of each row, '' for none."""

    name: str
    title: str
    kind: str
    origin: str
    rows: Sequence[Row]
    note: str = ""
    groups: Sequence[str] = ()
    hypernyms: Sequence[Sequence[str]] = ()
    pretraining: bool = True


class Packages:
    """Class names inside installed packages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        text = self.text("clip_benchmark/datasets/en_classnames.json")
        self.clip: dict[str, list[str]] = json.loads(text)

    def text(self, path: str) -> str:
        return (self._folder / path).read_text(encoding="utf-8")

    def lines(self, path: str) -> list[str]:
        return self.text(path).split()

    def assigned(self, path: str, name: str) -> list[str]:
        """The literal list that a module assigns to ``name``."""
        for node in ast.parse(self.text(path)).body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                return list(ast.literal_eval(node.value))
        raise ValueError(f"{path} assigns no {name}")

    def mmpretrain(self, name: str) -> list[str]:
        return self.assigned("mmpretrain/datasets/categories.py", f"{name}_CATEGORIES")

    def tfds(self, name: str) -> list[str]:
        return self.lines(f"tensorflow_datasets/image_classification/{name}.txt")

    def synsets(self, name: str) -> list[str]:
        return self.lines(f"timm/data/_info/{name}_synsets.txt")


class Groups:
    """Which list of settings suits a synset."""

    def __init__(self, wordnet: WordNet) -> None:
        self._wordnet = wordnet
        text = re.sub(r"^#.*\n", "", GROUPS.read_text(encoding="utf-8"), flags=re.MULTILINE)
        sections = re.findall(r"\[([^\]]+)\]([^\[]+)", text)
        self.names = [name for name, _ in sections]
        self._named: dict[str, int] = {}
        for place, (_, nouns) in enumerate(sections):
            for noun in nouns.split():
                self._named.setdefault(wordnet.sense(noun), place)

    def of(self, synset: str) -> str:
        place = self._wordnet.nearest(synset, self._named)
        if place is None:
            raise ValueError(f"{synset} has no group: does one name 'entity.1'?")
        return str(self.names[place])


def in1k(packages: Packages, wordnet: WordNet, groups: Groups) -> Built:
    synsets = packages.synsets("imagenet")
    stop = frozenset(wordnet.sense(name) for name in TOP)
    names = packages.clip["imagenet1k"]
    rows: list[Row] = []
    for synset, name in zip(synsets, names, strict=True):
        lemmas = wordnet.synsets[synset].lemmas
        first_come = name not in {row.name for row in rows}
        keeps = names.count(name) == 1 or (first_come and name in lemmas)
        rows.append(Row(name if keeps else lemmas[0], lemmas))
    return Built(
        "in1k",
        "ImageNet-1k",
        "object",
        f"names: {CLIP} (those of CLIP's prompts), order of classes: {TIMM}, synonyms and hypernyms: {WN}",
        rows,
        "Concept i is class i. Two names stand twice in CLIP's list, 'missile' and 'sunglasses', so that the released "
        "code had 998 concepts; here one of each has its first lemma in WordNet: class 744 is 'projectile', class 836 "
        "'sunglass'.",
        [groups.of(synset) for synset in synsets],
        [list(wordnet.chain(synset, stop)) for synset in synsets],
    )


def rarer() -> list[str]:
    """Synsets of ImageNet-21k below the most frequent 12k, most images first."""
    rows = [line.split() for line in RARER.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [synset for synset, images in sorted(rows, key=lambda row: (-int(row[1]), row[0]))]


def in21k(packages: Packages, wordnet: WordNet, groups: Groups) -> Built:
    """The 13,000 classes with the most images, of those that can be concepts."""
    frequent, kept = packages.synsets("imagenet12k"), set(packages.synsets("imagenet21k_miil_w21"))
    if not set(packages.synsets("imagenet21k_miil")) <= set(frequent):
        raise ValueError("imagenet12k no longer holds all classes that have 500 images or more")
    person = wordnet.sense(PERSON)
    rows: dict[str, Row] = {}
    taken: set[str] = set()
    withdrawn = people = merged = seen = 0
    # A class takes its first lemma that no more frequent class has: those of imagenet-12k by name, then by images.
    for synset in [*sorted(frequent), *rarer()]:
        if len(rows) == IN21K:
            break
        seen += 1
        if synset not in kept and wordnet.is_under(synset, person):
            if seen <= len(frequent):
                withdrawn += 1
            else:
                people += 1
            continue
        lemmas = wordnet.synsets[synset].lemmas
        name = next((lemma for lemma in lemmas if lemma.casefold() not in taken), None)
        if name is None:
            merged += 1
            continue
        taken.add(name.casefold())
        rows[synset] = Row(name, lemmas)
    if len(rows) < IN21K:
        raise ValueError(f"{RARER.name} ends too early: {len(rows):,} classes")
    note = (
        f"The {IN21K:,} classes of the fall 2011 release with the most images: the {len(frequent):,} that timm lists "
        f"as 'imagenet-12k' (440 images or more), and the next by the number of their images. To have so many, "
        f"{seen:,} were looked at. Left out: {withdrawn} classes of people that ImageNet itself withdrew (not in its "
        f"winter 2021 release), {people} rarer ones of people, of which no package says whether it did, and {merged} "
        "whose every lemma names an earlier class. A name is the first free lemma. Classes of ImageNet-1k are among "
        "them."
    )
    chosen = sorted(rows)
    origin = f"classes: {TIMM}, images of the rarer ones: scripts/{RARER.name}, names and synonyms: {WN}"
    return Built(
        "in21k",
        "ImageNet-21k, the 13,000 most frequent classes",
        "object",
        origin,
        [rows[synset] for synset in chosen],
        note,
        [groups.of(synset) for synset in chosen],
    )


def built(packages: Packages, wordnet: WordNet, groups: Groups) -> Iterable[Built]:
    one, many = in1k(packages, wordnet, groups), in21k(packages, wordnet, groups)
    known = {row.name.casefold(): group for b in (many, one) for row, group in zip(b.rows, b.groups, strict=True)}
    yield one
    yield many

    def alike(
        name: str, title: str, kind: str, origin: str, rows: Sequence[Row], note: str = "", group: str = ""
    ) -> Built:
        return Built(name, title, kind, origin, rows, note, [group] * len(rows))

    rows = [spoken_aircraft(name) for name in packages.mmpretrain("FGVCAIRCRAFT")]
    yield alike("aircraft", "FGVC-Aircraft (variants)", "object", MMP, rows, "Makers in the synonyms.", "aircraft")
    rows = [spoken_car(name) for name in packages.mmpretrain("STANFORDCARS")]
    yield alike("cars", "Stanford Cars", "object", MMP, rows, "Synonyms: without the year, without the body.", "cars")
    rows = [Row(name.replace("_", " ")) for name in packages.mmpretrain("DTD")]
    yield alike("dtd", "Describable Textures (DTD)", "texture", MMP, rows)
    rows = [singular(readable(name)) for name in packages.clip["flowers"]]
    yield alike("flowers", "Oxford Flowers-102", "object", CLIP, rows, "", "flowers")
    rows = [singular(readable(name)) for name in packages.mmpretrain("FOOD101")]
    yield alike("food101", "Food-101", "object", MMP, rows, "", "food")
    rows = [spoken_pet(name) for name in packages.clip["pets"]]
    yield alike("pets", "Oxford-IIIT Pets", "object", CLIP, rows, "", "pets")
    rows = [singular(readable(name)) for name in packages.clip["caltech101"][3:]]
    rows = [Row("face", ("human face",)), *rows]
    chosen = [_looked_up(row, known, wordnet, groups) for row in rows]
    note = "Its folder of background pictures names no concept; its two folders of faces are one concept."
    yield Built("caltech101", "Caltech-101", "object", CLIP, rows, note, chosen)
    note = "Names as words, the kind behind the place ('church indoor') as in the data set; mixes may drop it."
    rows = [from_path(path) for path in packages.tfds("categories_places365")]
    yield alike("places365", "Places-365", "place", TFDS, rows, note)
    rows = [from_path(path.removeprefix(path[:3])) for path in packages.tfds("sun397_labels")]
    yield alike("sun397", "SUN397", "place", TFDS, rows, note)
    yield from held_out(packages)


def held_out(packages: Packages) -> Iterable[Built]:
    """The sets whose concepts pre-training must not see (paper, table 9)."""
    resisc = packages.assigned("tensorflow_datasets/datasets/resisc45/resisc45_dataset_builder.py", "_LABELS")
    kitti = ["car on the left or right side", "car nearby", "car in the distance", "no car"]
    for name, title, kind, origin, names in (
        ("country211", "Country-211", "place", CLIP, packages.clip["country211"]),
        ("eurosat", "EuroSAT", "place", CLIP, packages.clip["eurosat"]),
        ("gtsrb", "German Traffic Sign Recognition (GTSRB)", "object", CLIP, packages.clip["gtsrb"]),
        ("kitti", "KITTI, distance of the closest vehicle", "object", "typed by hand: its four classes", kitti),
        ("mnist", "MNIST", "object", CLIP, packages.clip["mnist"]),
        ("resisc45", "RESISC45", "place", TFDS, resisc),
    ):
        rows = [Row(" ".join(text.replace("_", " ").split())) for text in names]
        note = "Evaluates concepts that pre-training has not seen: no job draws from it."
        yield Built(name, title, kind, origin, rows, note, pretraining=False)


def _looked_up(row: Row, known: dict[str, str], wordnet: WordNet, groups: Groups) -> str:
    """The group typed by hand, or that of the ImageNet class of this name, or of the noun's first sense."""
    words = [word.casefold() for word in (row.name, *row.synonyms)]
    found = BUILT_BY_HAND.get(row.name) or next((known[word] for word in words if word in known), None)
    return found or groups.of(wordnet.sense(f"{row.name.casefold().replace(' ', '_')}.1"))


def write(one: Built) -> dict[str, object]:
    """Write the file of a set; what the index says of it."""
    names = {row.name.casefold() for row in one.rows}
    if len(names) != len(one.rows):
        raise ValueError(f"{one.name}: a name stands twice")
    groups = sorted(set(one.groups) - {""})
    lines = []
    for place, row in enumerate(one.rows):
        others = {word.casefold(): word for word in row.synonyms if len(word) <= 80}
        kept = [word for folded, word in others.items() if folded not in names][:MOST_SYNONYMS]
        group = groups.index(one.groups[place]) if one.groups and one.groups[place] else -1
        lines.append(json.dumps([row.name, kept, group], ensure_ascii=False))
    head = json.dumps({"origin": one.origin, "settings": groups}, ensure_ascii=False, indent=1)[1:-2]
    (DATA / f"{one.name}.json").write_text(
        "{" + head + ',\n "concepts": [\n' + ",\n".join(lines) + "\n ]\n}\n", encoding="utf-8"
    )
    if one.hypernyms:
        above = ",\n".join(json.dumps(list(dict.fromkeys(chain))) for chain in one.hypernyms)
        (DATA / f"{one.name}.hypernyms.json").write_text(f"[\n{above}\n]\n", encoding="utf-8")
    return {
        "title": one.title,
        "concepts": len(one.rows),
        "kind": one.kind,
        "source": one.origin,
        "note": one.note,
        "pretraining": one.pretraining,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--packages", type=Path, required=True, help="folder that holds the installed packages")
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with data.noun and index.noun")
    options = parser.parse_args()
    wordnet = WordNet(options.wordnet)
    groups = Groups(wordnet)
    DATA.mkdir(exist_ok=True)
    index = {one.name: write(one) for one in built(Packages(options.packages), wordnet, groups)}
    (DATA / "index.json").write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    settings = DATA / "settings.json"
    known = set(json.loads(settings.read_text(encoding="utf-8"))) if settings.exists() else set()
    for group in groups.names:
        if group not in known:
            sys.stderr.write(f"settings.json has no list {group!r}\n")
    return 0 if known.issuperset(groups.names) else 1


if __name__ == "__main__":
    sys.exit(main())
