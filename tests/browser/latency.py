"""From sound to verdict in the page that `export --page` makes: `latency.py PAGE CHROMIUM OUTPUT` prints the seconds of each verdict, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import page
from playwright.sync_api import sync_playwright


def main() -> None:
    page_file, chromium, output = Path(sys.argv[1]).resolve(), sys.argv[2], Path(sys.argv[3])
    output.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=page.fake_microphone(output))
        opened = page.opened(browser.new_context(), page_file, [])
        print(json.dumps(page.listen(opened)))
        browser.close()


if __name__ == "__main__":
    main()
