"""The board's page as a person uses it, in a real Chromium; a thing may take as long as the machine is slow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
PATIENCE = 1000 * int(os.environ.get("PLUGTUNE_PATIENCE", "300"))
"""Milliseconds: a loaded machine is slow, a broken page never gets there."""
LOOKS = tuple((scheme, width) for scheme in ("light", "dark") for width in (1280, 1920))


class Board:
    """The page as a person uses it."""

    def __init__(self, page: Any, pictures: Path | None) -> None:
        self.page, self.pictures = page, pictures
        self.console: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on(
            "console", lambda m: self.console.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda e: self.console.append(f"exception: {e}"))
        page.on("response", lambda r: self.console.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on(
            "request",
            lambda r: (
                self.console.append(f"foreign: {r.url}")
                if "127.0.0.1" not in r.url and r.url.startswith("http")
                else None
            ),
        )

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_selector("#start")
        self.page.wait_for_selector("#train-status .pt-status")  # the page speaks to the server

    def fill(self, identity: str, text: str) -> None:
        box = self.page.locator(f"#{identity} input, #{identity} textarea").first
        box.fill(text)
        box.blur()

    def pick(self, identity: str, text: str) -> None:
        box = self.page.locator(f"#{identity} input").first
        box.click()
        box.fill(text)
        self.page.locator("ul[role=listbox] li", has_text=text).first.click()
        self.page.keyboard.press("Escape")
        box.blur()

    def value(self, identity: str) -> str:
        return str(self.page.locator(f"#{identity} input, #{identity} textarea").first.input_value())

    def tab(self, number: int) -> None:
        self.page.locator("button[role=tab]:visible").nth(number).click()

    def language(self, number: int, expected: str) -> None:
        self.page.locator("#top-lang input").first.click()
        self.page.locator("ul[role=listbox] li").nth(number).click()
        self.page.wait_for_selector(f"#start:has-text('{expected}')")

    def steps(self) -> int:
        return int(self.page.locator("#curve .pt-chart").get_attribute("data-points") or 0)

    def state(self, kind: str = "train") -> str:
        shown = self.page.locator(f"#{kind}-status [data-state]")
        return str(shown.first.get_attribute("data-state")) if shown.count() else ""

    def wait(self, what: Callable[[], bool], told: str) -> None:
        for _ in range(PATIENCE // 200):
            if what():
                return
            if self.state() == "failed":
                break
            self.page.wait_for_timeout(200)
        self.page.screenshot(path="/tmp/board-failure.png", full_page=True)
        raise AssertionError(f"{told}: {self.page.locator('#train-log textarea').input_value()[-2000:]}")

    def happens(self, what: Callable[[], bool], *, seconds: int) -> bool:
        """Whether something happens within a time."""
        for _ in range(5 * seconds):
            if what():
                return True
            self.page.wait_for_timeout(200)
        return False

    def settled(self, selector: str) -> None:
        """Wait until a text that is being written stays as it is for two seconds."""
        at = self.page.locator(selector).first
        seen: list[str] = []
        self.wait(lambda: seen.append(at.inner_text()) or (len(seen) > 10 and len(set(seen[-10:])) == 1), selector)

    def words(self) -> str:
        """Everything that can be read on the page."""
        return str(self.page.locator("body").inner_text())

    def picture(self, name: str, *looks: tuple[str, int]) -> None:
        """Pictures of the page as it is, in light and dark, at both widths; nothing when none are asked for."""
        if self.pictures is None:
            return
        for scheme, width in looks or LOOKS:
            self.page.emulate_media(color_scheme=scheme)
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.wait_for_function("s => document.body.classList.contains('dark') === (s === 'dark')", arg=scheme)
            self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            self._keep(self.page.screenshot(full_page=True, animations="disabled"), f"{name}-{scheme}-{width}")
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": 1280, "height": 900})

    def _keep(self, raw: bytes, name: str) -> None:
        from io import BytesIO

        from PIL import Image

        assert self.pictures is not None
        image = Image.open(BytesIO(raw)).convert("RGB")
        image.quantize(128, dither=Image.Dither.NONE).save(self.pictures / f"{name}.png", optimize=True)


@pytest.fixture
def browser() -> Iterator[Any]:
    assert CHROMIUM, "no Chromium: run `make setup-browser`"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def pictures() -> Path | None:
    folder = os.environ.get("PLUGTUNE_PICTURES")
    if not folder:
        return None
    path = Path(folder).resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path
