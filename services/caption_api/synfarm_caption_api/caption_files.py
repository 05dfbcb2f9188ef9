"""Files of captions in the store: parts of a fixed number of lines under their hashes, the commit last."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable

from pydantic import ValidationError

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.caption_files import (
    MOST_PARTS,
    PART_LINES,
    CaptionFile,
    CaptionFileCommit,
    CaptionPart,
    GivenCaption,
)
from synfarm.contracts.origins import CaptionFileRef
from synfarm.contracts.problems import ProblemError
from synfarm.contracts.wording import in_words
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged

__all__ = ["CaptionFiles", "CaptionLines"]

_LISTED = 1000


class CaptionFiles:
    """What the API does with files; thread-safe. Each call costs a bounded number of requests to the store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, owner: str, name: str, part: int, data: bytes, *, jsonl: bool) -> CaptionPart:
        """Store one part; the same lines again are the same part, other lines another candidate for its place.

        Raises:
            ProblemError: 409, the file is committed; 422, the number of a line that cannot be read.
        """
        self._refuse_committed(owner, name)
        lines = _read_lines(data, jsonl=jsonl)
        kept = b"".join(line.to_bytes() + b"\n" for line in lines)
        sha256 = hashlib.sha256(kept).hexdigest()
        key = layout.upload_part(owner, name, part, len(lines), sha256)
        self._store.create(key, kept, content_type="application/x-ndjson")
        return CaptionPart(part=part, lines=len(lines), sha256=sha256)

    def commit(self, owner: str, name: str, parts: tuple[str, ...]) -> CaptionFile:
        """Make a file of its parts, named by their hashes in order; once for all.

        Raises:
            ProblemError: 409, it was made of other parts; 422, a part is missing, or too short.
        """
        there = {(part, sha256): lines for part, lines, sha256 in self._parts(owner, name)}
        found = [there.get((number, sha256), 0) for number, sha256 in enumerate(parts)]
        for number, lines in enumerate(found):
            if not lines:
                detail = f"Part {number} of {name!r} with that hash is not there."
                hint = f"PUT /v1/caption-files/{name}/parts/{number} again; its answer has the hash."
                raise ProblemError(422, "caption_part_missing", detail, field=f"parts.{number}", hint=hint)
            if lines != PART_LINES and number != len(parts) - 1:
                detail = f"Part {number} of {name!r} has {lines} lines; all but the last have {PART_LINES}."
                hint = f"Cut the file into parts of {PART_LINES} lines; only the last may be shorter."
                raise ProblemError(422, "caption_part_short", detail, field=f"parts.{number}", hint=hint)
        made = CaptionFileCommit(file=name, owner=owner, parts=parts, last=found[-1], at=utc_now())
        if not self._store.create(layout.upload_commit(owner, name), made.to_bytes()):
            first = CaptionFileCommit.from_bytes(self._store.get(layout.upload_commit(owner, name)))
            if first.parts != parts:
                raise _committed(name)
        return CaptionFile(file=name, committed=True, parts=len(parts), lines=made.lines)

    def view(self, owner: str, name: str) -> CaptionFile:
        """How far a file is.

        Raises:
            ProblemError: 404, there is none of that name.
        """
        try:
            made = CaptionFileCommit.from_bytes(self._store.get(layout.upload_commit(owner, name)))
        except ObjectMissing:
            there = {part: lines for part, lines, _ in self._parts(owner, name)}
            if not there:
                raise _missing(name, 404, self.names(owner)) from None
            first = next(number for number in range(len(there) + 1) if number not in there)
            lines = sum(there[number] for number in range(first))
            return CaptionFile(file=name, committed=False, parts=first, lines=lines)
        return CaptionFile(file=name, committed=True, parts=len(made.parts), lines=made.lines)

    def names(self, owner: str) -> tuple[str, ...]:
        """Files of an owner, finished or not; at most a thousand."""
        names: list[str] = []
        for name in self._store.list_folders(layout.uploads_prefix(owner)):
            names.append(name)
            if len(names) == _LISTED:
                break
        return tuple(sorted(names))

    def ref(self, owner: str, name: str) -> CaptionFileRef:
        """What a job freezes of a file.

        Raises:
            ProblemError: 422, there is no committed file of that name.
        """
        try:
            data = self._store.get(layout.upload_commit(owner, name))
        except ObjectMissing:
            raise _missing(name, 422, self.names(owner)) from None
        made = CaptionFileCommit.from_bytes(data)
        return CaptionFileRef(file=name, owner=owner, sha256=hashlib.sha256(data).hexdigest(), lines=made.lines)

    def _parts(self, owner: str, name: str) -> Iterable[tuple[int, int, str]]:
        # A part that was sent in several forms counts each of them; the bound holds for files sent sensibly.
        for info in self._store.list(layout.upload_parts_prefix(owner, name), limit=2 * MOST_PARTS):
            yield layout.parse_upload_part(info.key)

    def _refuse_committed(self, owner: str, name: str) -> None:
        if self._store.head(layout.upload_commit(owner, name)) is not None:
            raise _committed(name)


class CaptionLines:
    """Reads lines of committed files for the caption worker; thread-safe, keeps the last few parts."""

    def __init__(self, store: ObjectStore, *, parts: int = 8) -> None:
        self._store, self._most = store, parts
        self._commits: OrderedDict[str, CaptionFileCommit] = OrderedDict()
        self._parts: OrderedDict[str, list[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def line(self, ref: CaptionFileRef, number: int) -> GivenCaption:
        """One line, counted from 0.

        Raises:
            ObjectMissing, StoreError: a part cannot be read.
            StoreDamaged: it is not what was committed.
        """
        with self._lock:
            commit = self._commit(ref)
            part, place = divmod(number, PART_LINES)
            lines = PART_LINES if part < len(commit.parts) - 1 else commit.last
            key = layout.upload_part(ref.owner, ref.file, part, lines, commit.parts[part])
            return GivenCaption.from_bytes(self._read(key, commit.parts[part])[place])

    def _commit(self, ref: CaptionFileRef) -> CaptionFileCommit:
        found = self._commits.get(ref.sha256)
        if found is None:
            data = self._proven(layout.upload_commit(ref.owner, ref.file), ref.sha256)
            found = self._commits[ref.sha256] = CaptionFileCommit.from_bytes(data)
            while len(self._commits) > self._most:
                self._commits.popitem(last=False)
        return found

    def _read(self, key: str, sha256: str) -> list[bytes]:
        found = self._parts.get(key)
        if found is None:
            found = self._parts[key] = self._proven(key, sha256).splitlines()
            while len(self._parts) > self._most:
                self._parts.popitem(last=False)
        return found

    def _proven(self, key: str, sha256: str) -> bytes:
        data = self._store.get(key)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreDamaged(f"{key}: its bytes are not those of its hash")
        return data


def _read_lines(data: bytes, *, jsonl: bool) -> list[GivenCaption]:
    raw = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if raw and not raw[-1].strip():
        raw.pop()
    if not 1 <= len(raw) <= PART_LINES:
        detail = f"The part has {len(raw)} lines; a part has 1 to {PART_LINES}."
        raise _bad(detail)
    return [_read_line(number, line, jsonl=jsonl) for number, line in enumerate(raw, 1)]


def _read_line(number: int, line: bytes, *, jsonl: bool) -> GivenCaption:
    try:
        text = line.decode()
        return GivenCaption.from_bytes(text) if jsonl else GivenCaption(text=" ".join(text.split()))
    except UnicodeDecodeError as error:
        raise _bad(f"Line {number} is not UTF-8: byte {error.start} is {line[error.start]:#04x}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        empty = first["type"] == "string_too_short"
        message = "is empty; leave the line out" if empty else in_words(error)
        raise _bad(f"Line {number}: {place} {message}.".replace(":  ", ": ")) from error


def _bad(detail: str) -> ProblemError:
    hint = 'Send one caption a line as text/plain, or {"text": …, "concept": …} a line as application/x-ndjson.'
    return ProblemError(422, "bad_caption_part", detail, field="body", hint=hint)


def _committed(name: str) -> ProblemError:
    hint = "A file never changes; choose another name for other captions."
    return ProblemError(409, "caption_file_committed", f"File {name!r} is committed.", field="name", hint=hint)


def _missing(name: str, status: int, names: tuple[str, ...]) -> ProblemError:
    hint = "PUT /v1/caption-files/{name}/parts/0 begins one, POST …/commit finishes it."
    if names:
        hint = f"Yours are: {', '.join(names[:10])}. {hint}"
    field = "name" if status == 404 else "captions_from.file"
    return ProblemError(
        status, "caption_file_missing", f"There is no file of captions {name!r}.", field=field, hint=hint
    )
