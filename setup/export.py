"""Exported networks in Python: the lines of docs/export.md run, and their logits held to ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import jupyter
import kernel
from steps import ROOT, TARGET, Clock, SetupError, run

sys.path.insert(0, str(ROOT / "bench"))

import harness  # noqa: E402  (found only after the line above)

FOLDER = TARGET / "export"
CHECKS = [ROOT / "tests" / "export" / name for name in ("check.py", "onnx_check.py")]


def check(clock: Clock, libtorch: Path) -> None:
    """Exports of every network, loaded by PyTorch, Hugging Face's transformers and ONNX Runtime."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    with clock.step("exports"):
        env = {**kernel.build_environment(libtorch), "EXPORT_DIR": str(FOLDER)}
        run(["cargo", "test", "-q", *kernel.BUILD, "--test", "export", "--test", "transfer"], env=env)
    python = peers(clock)
    with clock.step("exports in Python"):
        # Our libtorch on the library path would come before the one that torch brings.
        env = {"LD_LIBRARY_PATH": "", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        env["HF_HOME"] = str(TARGET / "hugging-face")
        for check in CHECKS:
            run([python, check, FOLDER], env=env, failure="Python does not read the exports as docs/export.md says; see above.")


def peers(clock: Clock) -> Path:
    """The Python of the benchmarks' peers, which has PyTorch and transformers."""
    with clock.step("PyTorch and transformers", download=True):
        try:
            return harness.peer_python()
        except subprocess.CalledProcessError as error:
            raise SetupError(f"pip ended with status {error.returncode}; its output is above. {jupyter.NETWORK}") from error
