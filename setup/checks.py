"""What `make test` runs, in the order in which a mistake shows soonest."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import drift
import jupyter
import kernel
from steps import ROOT, TARGET, Clock, SetupError, output_of, run

EXPECTED = ROOT / "setup" / "expected_artifacts.txt"
# The tests that say something else without libtorch than with it.
WITHOUT_LIBTORCH = [part for name in ("onnx", "streaming", "golden_front_end") for part in ("--test", name)]
# Long enough for a loaded machine with two cores, short enough that a cell that hangs is told today.
TEST_CELL_S = 1200


def run_all(clock: Clock, libtorch: Path) -> None:
    """Format, lints, Rust tests, the crate without libtorch, the runner's tests, the notebook on embedded data."""
    build = kernel.build_environment(libtorch)
    with clock.step("cargo fmt --check"):
        run(["cargo", "fmt", "--check"])
    with clock.step("cargo clippy"):
        run(["cargo", "clippy", "--all-targets", *kernel.BUILD, "--", "-D", "warnings"], env=build)
        # As the notebook has it.
        run(["cargo", "clippy", "--lib", "--locked", "--", "-D", "warnings"], env=build)
    without_torch = "onnx,microphone" if has_microphone_headers() else "onnx"
    with clock.step("cargo clippy, front end alone"):
        front_end = ["--no-default-features", "--all-targets", "--locked"]
        run(["cargo", "clippy", *front_end, "--", "-D", "warnings"], env=build)
        run(["cargo", "clippy", *front_end, "--features", without_torch, "--", "-D", "warnings"], env=build)
    with clock.step("cargo test"):
        run(["cargo", "test", *kernel.BUILD], env=build)
        # Cargo builds the examples for their tests, and leaves out those inside them.
        run(["cargo", "test", *kernel.BUILD, "--example", "train", "--example", "study"], env=build)
    with clock.step("cargo test, front end and exported networks alone"):
        alone = ["--no-default-features", "--features", without_torch, "--locked"]
        run(["cargo", "build", *alone, "--example", "predict"], env=build)
        run(["cargo", "test", *alone, "--lib", *WITHOUT_LIBTORCH], env=build)
    with clock.step("tests of the notebook runner"):
        # Most of them wait for a kernel of their own, which compiles on one core.
        workers = ["--numprocesses", "auto", "--dist", "loadgroup", "-p", "no:cacheprovider"]
        run([jupyter.PYTHON, "-m", "pytest", "-q", *workers, "tests/notebook"], env=jupyter.environment())
    # A folder of its own, made afresh: what the notebook must leave there can only come from this run.
    data_dir = Path("target", "test-data")
    shutil.rmtree(ROOT / data_dir, ignore_errors=True)
    with clock.step("the notebook on embedded data"):
        execute_notebook(TARGET / "test-notebook", data_dir, {"DATASET": "demo", "HF_HUB_OFFLINE": "1"})
    with clock.step("the notebook's stored outputs"):
        executed = TARGET / "test-notebook" / f"{kernel.NOTEBOOK.stem}.executed.ipynb"
        if changed := drift.differences(kernel.NOTEBOOK, executed):
            lines = "\n  ".join(changed)
            raise SetupError(f"the outputs stored in {kernel.NOTEBOOK.name} are old; `make notebook` renews them:\n  {lines}")


def has_microphone_headers() -> bool:
    """Whether the feature `microphone` can be built here; told loudly where it cannot."""
    if sys.platform != "linux" or output_of(["pkg-config", "--modversion", "alsa"]) is not None:
        return True
    print("### MICROPHONE LEFT OUT: no headers of ALSA (Debian/Ubuntu: sudo apt install libasound2-dev pkg-config) ###")
    return False


def execute_notebook(
    output: Path, data_dir: Path, env: dict[str, str] | None = None, timeout_s: int | None = TEST_CELL_S
) -> None:
    """Runs the notebook with its stages' folders under `data_dir`, a path from the project folder."""
    if not kernel.NOTEBOOK.is_file():
        raise SetupError(f"{kernel.NOTEBOOK} is missing; `git checkout {kernel.NOTEBOOK.name}` brings it back.")
    variables = {**jupyter.environment(), "DATA_DIR": str(data_dir), **(env or {})}
    variables.setdefault("DATASET", os.environ.get("DATASET") or "demo")
    runner = [jupyter.PYTHON, ROOT / "setup" / "run_notebook.py", kernel.NOTEBOOK, "--kernel", kernel.KERNEL]
    places = ["--output", output, "--expect", EXPECTED, "--data-dir", data_dir]
    failure = "the notebook failed; the cell and its reason stand above."
    limit = ["--timeout", str(timeout_s)] if timeout_s else []
    run([*runner, *places, *limit], env=variables, failure=failure)
