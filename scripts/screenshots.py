"""Take the pictures of docs/img from a running farm: its jobs, a gallery, a run with its curves, and a report file.

    python scripts/screenshots.py --data-dir demo            # of `synfarm up --data-dir demo`
    python scripts/screenshots.py --url http://127.0.0.1:8000 --key-file api-key --report report.html

The newest finished job and the newest run are shown. Needs Debian's `chromium` (or Chrome) on PATH, and `make setup`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from pictures import NoPicture, chromium, keep
from playwright.sync_api import Browser, Page

from synfarm.local.folder import StackFolder
from synfarm.local.state import StackState

OUT = Path("docs/img")
DESK = (1280, 860)
PHONE = (390, 844)
SHOTS = (
    ("", DESK, "light", ("jobs", "job", "sample", "run")),
    ("-dark", DESK, "dark", ("job", "run")),
    ("-phone", PHONE, "light", ("job", "run")),
)
"""Ending of the name, size, scheme, pages."""


@dataclass(frozen=True)
class Farm:
    url: str
    key: str | None
    report: Path | None


def find_farm(arguments: argparse.Namespace) -> Farm:
    """Where the farm listens: as named, or as the stack in the folder tells."""
    report: Path | None = arguments.report
    if arguments.url:
        key = arguments.key_file.read_text().strip() if arguments.key_file else None
        return Farm(arguments.url.rstrip("/"), key, report)
    folder = StackFolder(arguments.data_dir)
    if not folder.state_file.exists():
        raise NoPicture(f"no farm runs in {folder.root}: start it with `synfarm up --data-dir {arguments.data_dir}`")
    state = StackState.from_bytes(folder.state_file.read_bytes())
    found = folder.root / "report.html"
    return Farm(state.api_url, state.key_file.read_text().strip(), report or (found if found.exists() else None))


def sign_in(page: Page, farm: Farm) -> None:
    page.goto(f"{farm.url}/ui/sign-in")
    if page.url.endswith("/ui/"):
        return
    if farm.key is None:
        raise NoPicture("this farm asks for a key: name its file with --key-file")
    page.get_by_label("Key", exact=True).fill(farm.key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{farm.url}/ui/")


def newest(page: Page, farm: Farm, listing: str, link: str, state: str) -> str:
    """Address of the newest row in a state."""
    page.goto(farm.url + listing)
    rows = page.locator("tbody tr").filter(has=page.locator(f".state-{state}"))
    if rows.count() == 0:
        raise NoPicture(f"{farm.url}{listing} shows nothing that is {state}")
    return farm.url + str(rows.first.locator(link).first.get_attribute("href"))


def settle(page: Page) -> None:
    """Wait until every picture in sight is there, and the curves where there are some."""
    page.wait_for_function("[...document.images].every((image) => image.loading === 'lazy' || image.complete)")
    if page.locator("[data-curves]").count():
        page.locator(".chart polyline").first.wait_for(state="attached")
    page.wait_for_timeout(1000)


def take(browser: Browser, farm: Farm) -> None:
    for suffix, (width, height), scheme, wanted in SHOTS:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
        )
        page = context.new_page()
        sign_in(page, farm)
        job = newest(page, farm, "/ui/", "th a", "completed")
        run = newest(page, farm, "/ui/runs", "th a", "completed")
        for name in wanted:
            page.goto({"jobs": f"{farm.url}/ui/", "run": run}.get(name, job))
            if name == "sample":
                page.locator("[data-sample]").first.click()
                page.locator("dialog[open] img").first.wait_for()
            settle(page)
            keep(OUT / f"page-{name}{suffix}.png", page.screenshot())
        context.close()
    if farm.report is not None:
        page = browser.new_page(viewport={"width": DESK[0], "height": DESK[1]}, color_scheme="light")
        page.goto(farm.report.resolve().as_uri())
        settle(page)
        keep(OUT / "report.png", page.screenshot())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("demo"))
    parser.add_argument("--url", help="of caption-api, instead of a folder")
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--report", type=Path, help="a report.html; by default the one in the folder")
    arguments = parser.parse_args()
    try:
        farm = find_farm(arguments)
        OUT.mkdir(parents=True, exist_ok=True)
        with chromium() as browser:
            take(browser, farm)
    except NoPicture as error:
        sys.stderr.write(f"screenshots: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
