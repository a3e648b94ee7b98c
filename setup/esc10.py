"""Runs the notebook on real recordings: packs them as an archive, serves it here, downloads it from there."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import checks
import jupyter
from steps import ROOT, TARGET, Clock, SetupError, digest, is_done, mark_done, run

REQUIREMENTS = ROOT / "setup" / "requirements-esc10.txt"
ARCHIVE = TARGET / "esc10" / "esc10.tar.gz"


def packing_script() -> Path:
    """The make_archive.py that lies with the recordings."""
    script = Path(os.environ.get("ESC10_DIR") or ROOT.parent / "shared" / "esc10") / "make_archive.py"
    if not script.is_file():
        raise SetupError(f"{script} is not there. Set ESC10_DIR to the folder that holds make_archive.py.")
    return script


def run_from_loopback(clock: Clock, script: Path) -> None:
    """Download → verify → … → inference on the ESC-10 recordings, in a data folder made afresh."""
    data_dir = Path("target", "esc10", "data")
    shutil.rmtree(ROOT / data_dir, ignore_errors=True)
    with served(clock, script) as url, clock.step(f"the notebook on real recordings ({url})"):
        checks.execute_notebook(TARGET / "esc10" / "notebook", data_dir, {"DATASET": "esc10", "ESC50_URL": url, "HF_HUB_OFFLINE": "1"})


@contextlib.contextmanager
def served(clock: Clock, script: Path) -> Iterator[str]:
    """The archive of the recordings, packed where missing, at an address of this machine."""
    pack(clock, script)
    handler = functools.partial(QuietHandler, directory=str(ARCHIVE.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{ARCHIVE.name}"
        finally:
            server.shutdown()


def pack(clock: Clock, script: Path) -> None:
    """Makes the archive, unless it stands."""
    key = digest(script, script.with_name("clips.csv"))
    if is_done("esc10-archive", key) and ARCHIVE.exists():
        return
    with clock.step("ESC-10: download soundfile", download=True):
        jupyter.add(REQUIREMENTS, "--only-binary=:all:")
    ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
    beside = ARCHIVE.with_name("packing.tar.gz")
    with clock.step("ESC-10: pack"):
        run([jupyter.PYTHON, script, beside])
    beside.replace(ARCHIVE)
    mark_done("esc10-archive", key)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """A file server without a line per request."""

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""
