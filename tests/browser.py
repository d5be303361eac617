"""What a headless Chromium makes of a page."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright


@contextmanager
def chromium():
    """Yield a headless Chromium, the system's own; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program:
        pytest.skip("there is no Chromium (Debian: chromium)")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def visit(browser, path: Path, width: int) -> dict:
    """Open a file in a window of some width; say what it complained of, asked for, and how it lies in the window."""
    complaints, requests = [], []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.resolve().as_uri(), wait_until="load")
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    seen = {
        "complaints": complaints,
        "requests": [url for url in requests if not url.startswith(("data:", path.resolve().as_uri()))],
        "overflow": page.evaluate("document.documentElement.scrollWidth - window.innerWidth"),
        "figures": page.evaluate("[...document.images].map(each => [each.naturalWidth, each.alt])"),
    }
    page.close()
    return seen
