"""The page that `export --page` makes, opened from its file: what it says of recordings beside what the crate says, and of a microphone.

`page.py PAGE ANSWERS CHROMIUM OUTPUT`: the page, lines of JSON as `predict` writes them for recordings, the browser, and the folder for
screenshots.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import microphone
from cells import Failed
from playwright.sync_api import BrowserContext, Error, Page, Playwright, sync_playwright

TOLERANCE = 1e-3
# From the oldest new sound of a verdict to the verdict.
LATENCY_S = 1.5
N_VERDICTS = 12
LOAD_S = 60.0
# Text beside its ground.
CONTRAST = 4.5
# What a screen reader would be lost without, and what would be cut off on a telephone.
NARROW = {"width": 390, "height": 844}
CONTRASTS = """() => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll("h1, p, td, button, label, #verdict, .muted")].filter((e) => e.textContent.trim()).map((e) => {
    const ink = light(getComputedStyle(e).color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
}"""


def opened(context: BrowserContext, page_file: Path, complaints: list[str]) -> Page:
    """The page, ready."""
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("file:", "blob:", "data:")) else complaints.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_selector("body[data-state]", timeout=1e3 * LOAD_S)
    if page.evaluate("document.body.dataset.state") != "ready":
        raise Failed(f"the page does not start: {page.inner_text('#about')}")
    return page


def until(page: Page, condition: str) -> None:
    """Returns when it holds. The page's own rules let nobody else run code in it, so it is asked again and again."""
    deadline = time.monotonic() + LOAD_S
    while not page.evaluate(condition):
        if time.monotonic() > deadline:
            raise Failed(f"after {LOAD_S:.0f} s it is not so: {condition}; the page says {page.inner_text('#words')!r}")
        time.sleep(0.02)


def hear(page: Page, file: Path) -> dict | None:
    """What the page says of a file, `None` where it cannot read it."""
    before = int(page.evaluate("Number(document.body.dataset.heard || 0)"))
    page.evaluate("window.lastAnswer = null")
    page.set_input_files("#file", file)
    until(page, f"Number(document.body.dataset.heard) === {before + 1}")
    return page.evaluate("window.lastAnswer")


def check_files(page: Page, answers: list[dict]) -> float:
    """The largest difference of a probability; names and standings are the same."""
    largest = 0.0
    for answer in answers:
        said = hear(page, Path(answer["file"]))
        if said is None:
            raise Failed(f"the page does not read {answer['file']}: {page.inner_text('#words')}")
        ours = {entry["label"]: entry["probability"] for entry in answer["top"]}
        differences = [abs(share - ours[label]) for label, share in said["ranked"]]
        largest = max(largest, *differences)
        if (said["name"], said["standing"]) != (answer["prediction"], answer["standing"]) or largest > TOLERANCE:
            raise Failed(f"{answer['file']}: the page says {said['name']} ({said['standing']}), the crate {answer}")
    return largest


def check_refusal(page: Page, output: Path) -> None:
    """What is no recording is told, and no verdict stays."""
    nonsense = output / "nonsense.wav"
    nonsense.write_text("no sound", encoding="utf-8")
    said, words = hear(page, nonsense), page.inner_text("#words")
    if said is not None or "expected" not in words or page.inner_text("#verdict"):
        raise Failed(f"a file that is no recording: {said}, {words!r}")


def fake_microphone(output: Path) -> list[str]:
    """Options of Chromium with a microphone that plays a file, and that every page may have."""
    sound = output.resolve() / "page-microphone.wav"
    microphone.write_sound(sound)
    options = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    return [*options, f"--use-file-for-fake-audio-capture={sound}"]


def listen(page: Page) -> list[float]:
    """Seconds from sound to verdict, one verdict after another."""
    page.click("#listen")
    latencies = []
    for n in range(1, N_VERDICTS + 1):
        until(page, f"Number(document.body.dataset.verdicts) >= {n}")
        latencies.append(page.evaluate("window.lastLatencyMs") / 1e3)
    page.click("#listen")
    return latencies


def check_listening(playwright: Playwright, chromium: str, page_file: Path, output: Path) -> None:
    """A microphone that is there, and one that is refused."""
    complaints: list[str] = []
    browser = playwright.chromium.launch(executable_path=chromium, args=fake_microphone(output))
    page = opened(browser.new_context(), page_file, complaints)
    latencies = listen(page)
    page.screenshot(path=output / "page-listening.png", full_page=True)
    spread = page.evaluate("lastAnswer.spectrogram.pixels.reduce((set, pixel) => set.add(pixel), new Set()).size")
    browser.close()
    if complaints or spread < 50:
        raise Failed(f"while listening: {complaints}, {spread} different levels")
    median, worst = statistics.median(latencies), max(latencies)
    print(f"from sound to verdict: {median:.2f} s (median of {len(latencies)}), {worst:.2f} s at most (limit {LATENCY_S} s)", flush=True)
    if median > LATENCY_S:
        raise Failed(f"a verdict takes {median:.2f} s")
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    page = opened(browser.new_context(), page_file, [])
    page.click("#listen")
    until(page, "document.getElementById('words').textContent.includes('microphone')")
    browser.close()


def check_looks(playwright: Playwright, chromium: str, page_file: Path, recording: Path, output: Path) -> None:
    """Both themes, a telephone; text stands out everywhere, and nothing is wider than the window."""
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    for theme in ("light", "dark"):
        for name, size in (("wide", {"width": 1000, "height": 900}), ("narrow", NARROW)):
            page = opened(browser.new_context(color_scheme=theme, viewport=size), page_file, [])
            hear(page, recording)
            page.screenshot(path=output / f"page-{theme}-{name}.png", full_page=True)
            least = min(page.evaluate(CONTRASTS))
            width = page.evaluate("document.documentElement.scrollWidth")
            if least < CONTRAST or width > size["width"]:
                raise Failed(f"{theme}, {name}: contrast {least:.1f} (at least {CONTRAST}), {width} pixels wide")
            page.close()
    browser.close()


def main() -> None:
    page_file, answers_file, chromium, output = Path(sys.argv[1]).resolve(), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    output.mkdir(parents=True, exist_ok=True)
    lines = answers_file.read_text(encoding="utf-8").splitlines()
    answers = [answer for answer in map(json.loads, lines) if "top" in answer]
    if not answers:
        raise SystemExit("no recording to compare")
    with sync_playwright() as playwright:
        try:
            complaints: list[str] = []
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = opened(browser.new_context(), page_file, complaints)
            largest = check_files(page, answers)
            print(f"{len(answers)} recordings: the page differs from the crate by {largest:.1e} at most (limit {TOLERANCE:.0e})", flush=True)
            check_refusal(page, output)
            browser.close()
            if complaints:
                raise Failed(f"the browser complains: {complaints}")
            check_listening(playwright, chromium, page_file, output)
            check_looks(playwright, chromium, page_file, Path(answers[-1]["file"]), output)
        except (Failed, Error) as reason:
            raise SystemExit(f"the page: {reason}") from reason


if __name__ == "__main__":
    main()
