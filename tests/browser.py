"""A real browser without a window for tests of pages; they are skipped where there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, driven by selenium, that logs its console and its network."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("there is no chromium with its chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1200,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield window
    finally:
        window.quit()


def opened(window: Any, page: Path) -> None:
    """Opens a file as a user does, with a double click."""
    for kind in ("browser", "performance"):
        window.get_log(kind)
    window.get(page.resolve().as_uri())


def complaints(window: Any) -> list[str]:
    """What the page wrote to the console since it was opened."""
    return [entry["message"] for entry in window.get_log("browser")]


def requests(window: Any, page: Path) -> list[str]:
    """Addresses that the page asked for since it was opened, other than itself and what stands in it."""
    events = [json.loads(entry["message"])["message"] for entry in window.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith("data:") and url != page.resolve().as_uri()]
