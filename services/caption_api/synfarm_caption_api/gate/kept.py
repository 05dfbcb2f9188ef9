"""The captions that a unit has kept, so that it says nothing twice, nor nearly twice."""

from __future__ import annotations

from synfarm.contracts.captions import DropReason
from synfarm.contracts.concepts import Concept
from synfarm_caption_api.gate.features import NEAR, Band, Features, candidate_bands, features_of, likeness
from synfarm_caption_api.gate.words import normal_form

__all__ = ["KeptCaptions"]

_FEW = 24
"""So many captions are looked through faster than their sketches are made."""


class KeptCaptions:
    """Texts of one unit in the order in which they were admitted; what is refused depends on nothing else."""

    def __init__(self) -> None:
        self._normal: set[str] = set()
        self._groups: dict[str, _Group] = {}
        """By concept and background."""

    def admit(
        self, caption: str, concept: Concept, *, background: str | None = None, relation: str | None = None
    ) -> DropReason | None:
        """Keep the caption, or say which kind of duplicate of an earlier one it is."""
        normal = normal_form(caption)
        if normal in self._normal:
            return DropReason.DUPLICATE
        features = features_of(caption, concept, background, relation)
        group = self._groups.setdefault(features.key, _Group())
        if not group.admit(features):
            return DropReason.NEAR_DUPLICATE
        self._normal.add(normal)
        return None


class _Group:
    """Captions of one concept and background.

    Among many, MinHash finds the few that a new one may be like; whether it is, the exact likeness says.
    """

    def __init__(self) -> None:
        self._kept: list[Features] = []
        self._bands: dict[Band, list[Features]] | None = None

    def admit(self, features: Features) -> bool:
        """Keep it, if none that is kept is near."""
        if len(self._kept) == _FEW and self._bands is None:
            self._bands = {}
            for kept in self._kept:
                self._file(self._bands, kept)
        near = self._kept if self._bands is None else self._candidates(self._bands, features)
        if any(likeness(features, other) >= NEAR for other in near):
            return False
        self._kept.append(features)
        if self._bands is not None:
            self._file(self._bands, features)
        return True

    @staticmethod
    def _candidates(bands: dict[Band, list[Features]], features: Features) -> set[Features]:
        met = [bands[band] for band in candidate_bands(features) if band in bands]
        return set().union(*met)

    @staticmethod
    def _file(bands: dict[Band, list[Features]], features: Features) -> None:
        for band in candidate_bands(features):
            bands.setdefault(band, []).append(features)
