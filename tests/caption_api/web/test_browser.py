"""The page in a real browser over the real farm: submit, watch, gallery, start a run, curves, the report on captions,
extend, delete; no word in the console.

Only the language model is a stand-in that answers at once.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from synfarm.local.folder import StackFolder
from synfarm.local.stack import Ports, process_specs
from synfarm.local.supervisor import Supervisor

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

STUB = Path(__file__).parents[2] / "chaos" / "stub_llm.py"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SMALL_RUN = """\
data.captions_per_batch = 8
model.depth = 1
eval.test_captions = 8
eval.bootstrap = 10
"""
PATIENCE = 120_000
"""Milliseconds."""
# The machine's network, not the page: containers that start and stop beside the test change its addresses.
NOT_OURS = ("net::ERR_NETWORK_CHANGED",)


@asynccontextmanager
async def farm(root: Path) -> AsyncIterator[tuple[str, str]]:
    """URL of the page and a key."""
    with StackFolder(root) as folder:
        secrets, ports = folder.secrets(), Ports.free()
        stub = (sys.executable, str(STUB), "--port", str(ports.llm))
        specs = process_specs(folder, secrets, ports, {"OMP_NUM_THREADS": "1"})
        specs = [dataclasses.replace(s, command=stub) if s.name == "llm-server" else s for s in specs]
        async with Supervisor(specs, folder.logs):
            yield f"http://127.0.0.1:{ports.api}", secrets.api_key


class Visit:
    """A window, and everything that its console said against the page."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context, self.page, self.url = context, page, url
        self.complaints: list[str] = []
        self.network_changed = False
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))

    def _note(self, kind: str, text: str) -> None:
        if any(words in text for words in NOT_OURS):
            self.network_changed = True
        elif kind in {"error", "warning"}:
            self.complaints.append(text)

    async def open(self, path: str) -> None:
        for _ in range(5):
            self.network_changed = False
            await self.page.goto(self.url + path, wait_until="load")
            if not self.network_changed:
                return

    async def sign_in(self, key: str) -> None:
        await self.open("/")
        await self.page.get_by_label("Key", exact=True).fill(key)
        await self.page.get_by_role("button", name="Sign in").click()
        await expect(self.page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()


async def visit(browser: Browser, url: str, *, width: int, scheme: str, scripts: bool = True) -> Visit:
    context = await browser.new_context(
        java_script_enabled=scripts,
        viewport={"width": width, "height": 844},
        color_scheme="dark" if scheme == "dark" else "light",
        has_touch=width < 500,
    )
    context.set_default_timeout(PATIENCE)
    return Visit(context, await context.new_page(), url)


async def fits(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


async def submit(desk: Visit) -> str:
    """Try prompts, look at the plan, submit; the job's address."""
    page = desk.page
    await page.get_by_role("link", name="New job").click()
    await page.get_by_label("Concepts", exact=True).fill("dog\nunicron\ncat")
    await page.get_by_label("Captions", exact=True).fill("24")
    await page.get_by_role("button", name="Show the plan").click()
    await expect(page.locator("#concepts-fault")).to_contain_text("unicron")
    # The browser itself notes each refused form; that is its log of this page's intended answer.
    desk.complaints = [text for text in desk.complaints if "422" not in text]
    await page.get_by_label("Concepts", exact=True).fill("dog\ncat")
    await page.get_by_label("Image size, px", exact=True).fill("64")
    await page.get_by_role("button", name="Try prompts").click()
    await expect(page.get_by_role("heading", name="Tried with stub")).to_be_visible()
    await page.get_by_text("More: templates, backgrounds, renderer, queue").click()
    await page.get_by_label("Captions a unit", exact=True).fill("8")
    await page.get_by_role("button", name="Show the plan").click()
    await page.get_by_role("button", name="Submit this job").click()
    await page.wait_for_url("**/ui/jobs/0*")
    return page.url.removeprefix(desk.url)


async def look(page: Page) -> None:
    """The gallery came without a reload; a sample opens, its neighbour follows, the keyboard leads back."""
    samples = page.locator("[data-sample]")
    await expect(samples.first).to_be_visible()
    await samples.first.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("seed")
    first = await dialog.locator("h2").inner_text()
    await expect(dialog.locator("img").first).to_have_js_property("naturalWidth", 64)
    await page.keyboard.press("ArrowRight")
    await expect(dialog.locator("h2")).not_to_have_text(first)
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(samples.nth(1)).to_be_focused()


async def train(page: Page) -> None:
    """Start a run on the finished job and see its curves grow."""
    await page.get_by_role("link", name="Start a run").click()
    await page.get_by_label("Steps", exact=True).fill("4")
    await page.get_by_label("Overrides", exact=True).fill(SMALL_RUN)
    await page.get_by_role("button", name="Start the run").click()
    await page.wait_for_url("**/ui/runs/0*")
    losses = page.locator(".chart").filter(has_text="Losses")
    await expect(losses.locator("polyline").first).to_be_visible()
    await expect(page.locator("#live .state-completed")).to_be_visible()
    await expect(page.locator("#results")).to_contain_text("untrained network")
    await expect(page.locator(".chart").first).to_contain_text("Losses")
    await expect(losses.locator(".chart-note")).to_have_text("Contrastive equals total at every step.")
    await losses.locator("svg").hover()
    await expect(losses.locator(".chart-step")).to_contain_text("step")
    await losses.locator("svg").focus()
    await page.keyboard.press("Home")
    await expect(losses.locator(".chart-step")).to_have_text("step 1")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH (Debian: apt-get install chromium)")
    # A busy machine takes its time; a timing fails no test.
    expect.set_options(timeout=PATIENCE)
    # Root has no sandbox to start; everyone else keeps it.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        await browser.close()


async def choose_a_set(desk: Visit) -> str:
    """By the keyboard alone to the plan of a set, then submit it; the job's address."""
    page = desk.page
    await page.get_by_role("link", name="New job").click()
    await expect(page.locator("#concepts")).to_be_visible()
    await page.locator("#what-concepts").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_label("Set", exact=True)).to_be_visible()
    await expect(page.locator("#concepts")).to_be_hidden()
    await page.get_by_label("Set", exact=True).select_option("demo")
    await page.get_by_label("Captions", exact=True).fill("24")
    await page.get_by_label("Image size, px", exact=True).fill("64")
    await page.get_by_text("More: templates, backgrounds, renderer, queue").click()
    await page.get_by_label("c: the concept alone", exact=True).fill("0.7")
    await page.get_by_role("button", name="Show the plan").click()
    await expect(page.locator("#templates-fault")).to_contain_text("sum to 0.7, not to 1")
    desk.complaints = [text for text in desk.complaints if "422" not in text]
    await expect(page.get_by_label("Set", exact=True)).to_be_visible()
    await page.get_by_label("c,rel: with a relation", exact=True).fill("0.3")
    await page.get_by_label("Captions a unit", exact=True).fill("8")
    await page.get_by_role("button", name="Show the plan").click()
    plan = page.locator("#result")
    await expect(plan).to_contain_text("set demo")
    await expect(plan).not_to_contain_text("It would wait")
    await plan.get_by_role("button", name="Submit this job").click()
    await page.wait_for_url("**/ui/jobs/0*")
    return page.url.removeprefix(desk.url).partition("#")[0]


async def read_the_report(page: Page) -> None:
    """From the finished job to its report: numbers, charts, and back to a concept's pictures."""
    await page.get_by_role("link", name="Captions report").click()
    await expect(page.locator("#live > [data-final]")).to_be_visible()
    await expect(page.locator("#sample")).to_contain_text("24 planned captions")
    await expect(page.locator(".histogram rect").first).to_be_visible()
    await expect(page.get_by_role("region", name="Table of templates")).to_contain_text("the concept and a relation")
    concept = page.get_by_role("region", name="Most captions").get_by_role("link").first
    name = await concept.inner_text()
    await concept.click()
    await page.wait_for_url("**?concept=*")
    await expect(page.locator(".gallery .concept").first).to_have_text(name)


async def extend_and_delete(page: Page) -> None:
    await page.get_by_text("Extend…").click()
    await page.get_by_label("Captions in all").fill("32")
    await page.get_by_role("button", name="Extend this job").click()
    await expect(page.get_by_role("region", name="Table of generations")).to_contain_text("an extension")
    await expect(page.locator("#live > [data-final]")).to_contain_text("generation 2")
    await page.get_by_text("Delete…").click()
    await page.get_by_role("button", name="Delete this job").click()
    await page.wait_for_url("**/ui/")
    await expect(page.get_by_role("heading", name="No job yet")).to_be_visible()


async def test_from_a_set_to_the_report_on_its_captions(tmp_path: Path) -> None:
    async with farm(tmp_path / "farm") as (url, key), chromium() as browser:
        desk = await visit(browser, url, width=1280, scheme="light")
        await desk.sign_in(key)
        job = await choose_a_set(desk)
        await expect(desk.page.locator("#live .state-completed").first).to_be_visible()
        await read_the_report(desk.page)

        phone = await visit(browser, url, width=390, scheme="dark", scripts=False)
        await phone.sign_in(key)
        for path in (f"{job}/captions-report", f"{job}/failures", job, "/ui/jobs/new"):
            await phone.open(path)
            assert await fits(phone.page), f"{path} is wider than a phone"
        await phone.open(f"{job}/captions-report")
        await expect(phone.page.locator(".histogram rect").first).to_be_visible()
        await extend_and_delete(desk.page)
        assert desk.complaints + phone.complaints == []


async def test_from_the_form_to_the_curves(tmp_path: Path) -> None:
    async with farm(tmp_path / "farm") as (url, key), chromium() as browser:
        desk = await visit(browser, url, width=1280, scheme="light")
        await desk.sign_in(key)
        job = await submit(desk)
        await look(desk.page)
        await expect(desk.page.locator("#live .state-completed")).to_be_visible()
        # The gallery is not replaced while its reader is in it, as after the dialog that was just closed.
        await desk.page.evaluate("document.activeElement.blur()")
        # As on a page that was loaded now: more than was there when the gallery came, and no button beside the choice.
        await expect(desk.page.get_by_role("link", name="More", exact=True)).to_be_visible()
        await expect(desk.page.get_by_role("button", name="Show", exact=True)).to_be_hidden()
        await train(desk.page)
        run = desk.page.url.removeprefix(url)

        phone = await visit(browser, url, width=390, scheme="dark")
        await phone.sign_in(key)
        for path in ("/ui/", job, "/ui/jobs/new", "/ui/workers", "/ui/runs", run):
            await phone.open(path)
            assert await fits(phone.page), f"{path} is wider than a phone"
        await expect(phone.page.locator(".chart polyline").first).to_be_visible()
        await phone.page.goto(url + job)
        await phone.page.locator("[data-sample]").first.tap()
        await expect(phone.page.get_by_role("dialog")).to_contain_text("Draw it again")
        assert await fits(phone.page)
        assert desk.complaints + phone.complaints == []
