"""What the machine has to bring along, and the command that installs what it lacks."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sys

from steps import ROOT, TOOLS, SetupError, output_of

# The kernel's crates (evcxr 0.22 and the rust-analyzer parts inside) ask for this release.
RUST_MIN = (1, 95)
# Tools take 1.1 GB, the builds with those of tests and lints 4.7.
FREE_GB_MIN = 6.0

RUSTUP = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh   (then open a new terminal)"
INSTALL = {
    "rust": {"linux": RUSTUP, "darwin": RUSTUP},
    "rust-update": {"linux": "rustup update stable", "darwin": "rustup update stable"},
    "rust-tools": {"linux": "rustup component add rustfmt clippy", "darwin": "rustup component add rustfmt clippy"},
    "venv": {"linux": "sudo apt install python3-venv", "darwin": "brew install python"},
    "c++": {"linux": "sudo apt install build-essential", "darwin": "xcode-select --install"},
}


def check(*, for_tests: bool = False) -> None:
    """Names every missing prerequisite at once, each with its install command."""
    missing = [*rust_problems(for_tests), *python_problems(), *compiler_problems(), *disk_problems()]
    if missing:
        raise SetupError("the machine lacks:\n" + "\n".join(missing))


def rust_problems(for_tests: bool) -> list[str]:
    """rustc and cargo, recent enough; for the tests also rustfmt and clippy."""
    versions = {tool: output_of([tool, "--version"]) for tool in ("rustc", "cargo")}
    absent = [tool for tool, version in versions.items() if version is None]
    if absent:
        return [item(f"Rust ({' and '.join(absent)} not found or not working)", "rust")]
    wanted = ".".join(map(str, RUST_MIN))
    for version in versions.values():
        if version_of(version) < RUST_MIN:
            return [item(f"Rust {wanted} or newer (found {version})", "rust-update")]
    if for_tests and any(output_of(["cargo", tool, "--version"]) is None for tool in ("fmt", "clippy")):
        return [item("rustfmt and clippy, which the tests use", "rust-tools")]
    return []


def python_problems() -> list[str]:
    """The modules that make a virtual environment, where uv does not; Debian and Ubuntu package them apart."""
    if shutil.which("uv") or all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        return []
    return [item(f"Python's venv module (for {sys.executable})", "venv")]


def compiler_problems() -> list[str]:
    """A C++ compiler for tch's bindings, and a C compiler that rustc links with."""
    names = (os.environ.get("CXX") or "c++", os.environ.get("CC") or "cc")
    absent = [name for name in names if shutil.which(shlex.split(name)[0]) is None]
    return [item(f"a C++ compiler ({' and '.join(absent)} not found)", "c++")] if absent else []


def disk_problems() -> list[str]:
    """Room for a first set-up; later ones need little."""
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if TOOLS.exists() or free_gb >= FREE_GB_MIN:
        return []
    return [f"  - {FREE_GB_MIN:.0f} GB of free disk space under {ROOT} (found {free_gb:.1f} GB)"]


def item(what: str, key: str) -> str:
    """One line per missing thing, with the command for this system."""
    system = "darwin" if sys.platform == "darwin" else "linux"
    return f"  - {what}\n      {INSTALL[key][system]}"


def version_of(text: str) -> tuple[int, int]:
    """The first `major.minor` in a version line; (0, 0) when there is none."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
