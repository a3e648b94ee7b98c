"""Whether pictures stand on the page's own paper, with ink that reads there: measured on what the browser has drawn."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from cells import Failed
from notebook_page import SIZE, NotebookPage

# WCAG 2.2, 1.4.3. Every single colour is measured by the crate's own tests.
TEXT_CONTRAST = 4.5
# Of 255: the same paper, but for rounding.
SAME = 2

# Of a screenshot: the colour at its upper edge, and the highest contrast of any of its pixels with that.
MEASURE = """async png => {
    const image = new Image();
    image.src = 'data:image/png;base64,' + png;
    await image.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.width, image.height];
    const pen = canvas.getContext('2d');
    pen.drawImage(image, 0, 0);
    const { data } = pen.getImageData(0, 0, image.width, image.height);
    const linear = value => value <= 10.31475 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4;
    const luminance = i => 0.2126 * linear(data[i]) + 0.7152 * linear(data[i + 1]) + 0.0722 * linear(data[i + 2]);
    const paper = 4 * (2 * image.width + (image.width >> 1));
    let contrast = 1;
    for (let i = 0; i < data.length; i += 4) {
        const [low, high] = [luminance(i), luminance(paper)].sort((a, b) => a - b);
        contrast = Math.max(contrast, (high + 0.05) / (low + 0.05));
    }
    return { paper: [...data.slice(paper, paper + 3)], contrast };
}"""
# How far the widest picture reaches beyond the output it stands in.
BEYOND = """output => Math.max(0, ...[...output.querySelectorAll('img')].map(
    image => Math.round(image.getBoundingClientRect().right - output.getBoundingClientRect().right)))"""
NARROW = {"width": 640, "height": 900}
PAGE_PAPER = """panel => {
    const probe = document.createElement('div');
    probe.style.backgroundColor = 'var(--jp-layout-color0)';
    panel.append(probe);
    const paper = getComputedStyle(probe).backgroundColor;
    probe.remove();
    return paper;
}"""


def check(notebook: NotebookPage, theme: str) -> None:
    """The first picture of every cell that has one."""
    page = notebook.page
    paper = page.locator(".jp-Notebook").first.evaluate(PAGE_PAPER)
    expected = [int(number) for number in re.findall(r"\d+", paper)][:3]
    measured = 0
    for index, cell in enumerate(notebook.cells()):
        if not cell.picture_widths:
            continue
        png = notebook.output_of(index).locator("img").first.screenshot()
        found = page.evaluate(MEASURE, base64.b64encode(png).decode())
        where = f"the first picture of code cell {index + 1} in the {theme} theme"
        if any(abs(a - b) > SAME for a, b in zip(found["paper"], expected)):
            raise Failed(f"{where}: expected the page's own paper {expected}, found {found['paper']}")
        if found["contrast"] < TEXT_CONTRAST:
            raise Failed(f"{where}: expected ink of {TEXT_CONTRAST} against its paper, found {found['contrast']:.2f}")
        measured += 1
    for frame in page.locator(".jp-Notebook iframe").element_handles():
        framed = frame.content_frame().evaluate("getComputedStyle(document.body).backgroundColor")
        if [int(number) for number in re.findall(r"\d+", framed)][:3] != expected:
            raise Failed(f"a page under a cell in the {theme} theme: expected the paper {expected}, found {framed}")
    if measured == 0:
        raise Failed("expected pictures in the notebook, found none")
    print(f"        {measured} pictures stand on the {theme} page's paper, and read there", flush=True)


def check_narrow(notebook: NotebookPage, file: Path) -> None:
    """No picture reaches beyond its cell's output where the window is half a screen."""
    notebook.page.set_viewport_size(NARROW)
    notebook.page.wait_for_timeout(1000)
    for index, cell in enumerate(notebook.cells()):
        beyond = notebook.output_of(index).evaluate(BEYOND)
        if cell.picture_widths and beyond > 0:
            raise Failed(f"a picture of code cell {index + 1} reaches {beyond} pixels beyond the page in a narrow window")
    notebook.photograph_as_it_stands(file)
    notebook.page.set_viewport_size(SIZE)
