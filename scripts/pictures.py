"""Pictures for docs/img: Debian's Chromium (or Chrome), run without a window, and PNG files that are not too large."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Error, sync_playwright

MOST_BYTES = 300_000


class NoPicture(Exception):
    """What a picture needs is not there; the message says what to do."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine.

    Raises:
        NoPicture: there is none, or it does not start.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise NoPicture("no chromium on PATH (Debian: apt-get install chromium)")
    # Root has no sandbox to start; everyone else keeps it. Nothing is asked of the internet.
    arguments = ["--disable-gpu", "--disable-background-networking"]
    arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as play:
        try:
            browser = play.chromium.launch(executable_path=found, args=arguments)
        except Error as error:
            raise NoPicture(f"{found} does not start: {str(error).partition(chr(10))[0]}") from error
        try:
            yield browser
        finally:
            browser.close()


def keep(path: Path, picture: bytes, *, drawing: bool = False) -> None:
    """Write a picture, with fewer colours where it would be too large; of a drawing the frequent ones stay exact."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in (None, 256, 128, 64):
        if colours is None:
            shown = image
        elif drawing:
            shown = image.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        else:
            shown = image.quantize(colours, method=Image.Quantize.MAXCOVERAGE)
        data = io.BytesIO()
        shown.save(data, "PNG", optimize=True)
        if len(data.getvalue()) <= MOST_BYTES:
            break
    path.write_bytes(data.getvalue())
    sys.stdout.write(f"{path}: {image.width} x {image.height}, {len(data.getvalue()) / 1000:.0f} kB\n")
