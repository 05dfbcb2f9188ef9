"""Tars that lie: nothing is believed that is not there, and none takes memory or time."""

from __future__ import annotations

import io
import random
import tarfile

import pytest
from tests.little_memory import little_memory

from synfarm.storage.tar_members import TarDamaged, TarMember, tar_members

BLOCK = tarfile.BLOCKSIZE


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **more: object) -> bytes:
    """One header, of whatever size; more than an octal number holds is written as GNU does."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in more.items():
        setattr(info, field, value)
    raw = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    raw[124:136] = (b"\x80" + size.to_bytes(11, "big")) if size >= 0 else b"\xff" + (256**11 + size).to_bytes(11, "big")
    return summed(raw)


def summed(raw: bytearray) -> bytes:
    raw[148:156] = b" " * 8
    raw[148:156] = f"{sum(raw):06o}\0 ".encode()
    return bytes(raw)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def member(name: str, data: bytes) -> bytes:
    return header(name, len(data)) + padded(data)


def pax(record: bytes) -> bytes:
    return header("p", len(record), tarfile.XHDTYPE) + padded(record)


END = bytes(2 * BLOCK)
ONE = member("a.jpg", b"one")


def listed(data: bytes) -> tuple[list[TarMember], list[tuple[str, str]]]:
    told: list[tuple[str, str]] = []
    return list(tar_members(io.BytesIO(data), lambda *what: told.append(what))), told


def sparse() -> bytes:
    """The old GNU form: 3 bytes that claim to be 2^60."""
    raw = bytearray(header("s.cls", 3, tarfile.GNUTYPE_SPARSE))
    raw[386:410] = b"%011o\0%011o\0" % (0, 3)
    raw[483:495] = b"\x80" + (1 << 60).to_bytes(11, "big")
    return summed(raw) + padded(b"abc")


LYING = {
    "a size of 2^60": header("b.jpg", 1 << 60) + padded(b"x"),
    "a size of 2^80": header("b.jpg", 1 << 80) + padded(b"x"),
    "a size below zero": header("b.jpg", -BLOCK),
    "a folder of a size below zero": header("b", -BLOCK, tarfile.DIRTYPE),
    "a long name of 2^40": header("n", 1 << 40, tarfile.GNUTYPE_LONGNAME) + padded(b"x"),
    "a long name of a size below zero": header("n", -3 * BLOCK, tarfile.GNUTYPE_LONGNAME),
    "an extended header of 2^62": header("p", 1 << 62, tarfile.XHDTYPE) + padded(b"x"),
    "an extended header that is a number": pax(b"1" * 100_000) + ONE,
    "an extended size below zero": pax(b"15 size=-51200\n") + ONE,
    "an extended size that is no number": pax(b"12 size=abc\n") + ONE,
    "an extended record of length 0": pax(b"0 path=x\n") + ONE,
    "a chain of long names": (header("n", 2, tarfile.GNUTYPE_LONGNAME) + padded(b"n\0")) * 2000 + ONE,
    "a chain of settings": b"".join(
        header("g", 9 + len(str(k)), tarfile.XGLTYPE) + padded(b"%d k%d=vvv\n" % (9 + len(str(k)), k)) + ONE
        for k in range(10, 300)
    ),
    "a sparse map without an end": pax(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n") + member("s", b"9" * BLOCK),
    "a header that is damaged": member("b.jpg", b"two").replace(b"ustar", b"ustaR", 1) + ONE,
    "garbage": random.Random(1).randbytes(4 * BLOCK),
}


@pytest.mark.parametrize("lie", LYING.values(), ids=LYING)
def test_a_tar_that_lies_is_damaged_after_what_is_true_and_costs_nothing(lie: bytes) -> None:
    found: list[TarMember] = []
    with little_memory(), pytest.raises(TarDamaged, match=r"\w"):
        found.extend(tar_members(io.BytesIO(ONE + lie + ONE + END)))  # takes them one by one
    assert found[0] == TarMember("a.jpg", BLOCK, 3)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (header("b.jpg", 0, tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link"),
        (header("b.jpg", 0, tarfile.LNKTYPE, linkname="../../a.jpg"), "is a link"),
        (header("b.jpg", 0, tarfile.CHRTYPE, devmajor=1, devminor=5), "is no plain file"),
        (header("b.jpg", 0, tarfile.FIFOTYPE), "is no plain file"),
        (header("b.jpg", 0, b"Z"), "is no plain file"),
        (sparse(), "is a sparse file"),
    ],
)
def test_what_is_no_plain_file_costs_itself_alone(data: bytes, why: str) -> None:
    with little_memory():
        found, told = listed(ONE + data + member("c.jpg", b"three") + END)
    assert [(one.name, one.size) for one in found] == [("a.jpg", 3), ("c.jpg", 5)]
    assert told == [("s.cls" if why == "is a sparse file" else "b.jpg", why)]


def test_names_are_names_and_nothing_else() -> None:
    names = ["../../up.jpg", "/abs.jpg", "x" * 3000 + ".jpg", "é\n\x1b[2J.jpg", "\udcff.jpg", "twice.jpg", "twice.jpg"]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = number
            tar.addfile(info, io.BytesIO(b"x" * number))
    found, told = listed(out.getvalue())
    assert [one.name for one in found] == names
    assert [out.getvalue()[one.offset : one.offset + one.size] for one in found] == [b"x" * k for k in range(7)]
    assert not told


def test_many_members_take_no_memory() -> None:
    file = io.BytesIO(header("a.jpg", 0) * 2000 + END)
    with little_memory(400_000):
        assert sum(1 for _ in tar_members(file)) == 2000


def test_a_tar_without_its_end_and_one_of_nothing_are_read() -> None:
    assert listed(ONE)[0] == listed(ONE + END)[0] == [TarMember("a.jpg", BLOCK, 3)]
    assert listed(END) == ([], [])
    for nothing in (b"", b"\x1f\x8b" + bytes(600)):
        with pytest.raises(TarDamaged):
            listed(nothing)


def test_changed_bytes_anywhere_are_a_tar_or_a_damaged_one() -> None:
    long = pax(b"30 path=a name in a pax header\n"[:30]) + ONE
    named = header("n", 200, tarfile.GNUTYPE_LONGNAME) + padded(b"n" * 200) + ONE
    whole = bytearray(ONE + long + sparse() + named + END)
    chance = random.Random(5)
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8))):
            data[chance.randrange(len(data))] = chance.randrange(256)
            at = chance.randrange(len(data) // BLOCK) * BLOCK
            if chance.random() < 0.8:  # a header that passes its own check
                data[at : at + BLOCK] = summed(data[at : at + BLOCK])
        try:
            for one in tar_members(io.BytesIO(bytes(data))):
                assert 0 <= one.offset <= one.offset + one.size <= len(data)
        except TarDamaged:
            pass
