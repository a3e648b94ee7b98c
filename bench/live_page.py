"""The page that `export --page` makes, in Chromium with a microphone that plays a file.

| row | ours | peer |
|---|---|---|
| `page_latency` | from the oldest new sound of a verdict to the verdict, the median of twelve | 1.5 s |
| `page_size` | the page, its network and what runs it | 10 MB |
"""
from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

from harness import ROOT, WORK, Row, build_example
from small import RELEASED

sys.path.insert(0, str(ROOT / "setup"))

import browser  # noqa: E402  (found only after the line above)
from steps import Clock, SetupError  # noqa: E402

FOLDER = WORK / "page"
LATENCY_S = 1.5
SIZE_MB = 10


def measure(arguments: argparse.Namespace) -> list[Row]:
    """The rows."""
    (export,) = build_example("export", "torch", "download", "pipeline")
    subprocess.run([export, "--page", RELEASED, FOLDER], check=True, stdout=subprocess.DEVNULL)
    page = pathlib.Path(FOLDER, "index.html")
    size = page.stat().st_size / 1e6
    rows = [Row("page_size", size, SIZE_MB, "MB", SIZE_MB / size, 1.0)]
    try:
        chromium = browser.find_chromium()
    except SetupError as missing:
        print(f"  page_latency is left out: {missing}", flush=True)
        return rows
    browser.install(Clock())
    command = [browser.PYTHON, ROOT / "tests" / "browser" / "latency.py", page, chromium, FOLDER]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    latency_s = statistics.median(json.loads(said))
    return [*rows, Row("page_latency", latency_s, LATENCY_S, "s", LATENCY_S / latency_s, 1.0)]
