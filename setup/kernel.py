"""The Rust kernel: evcxr_jupyter, its kernelspec, and the warmed build of the crate it loads."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import jupyter
import start_kernel
from steps import ROOT, TARGET, TOOLS, Clock, SetupError, digest, forget, is_done, mark_done, output_of, run, write_file

EVCXR = "0.22.0"
# Not `rust`: evcxr_jupyter rewrites a kernelspec of that name at its start, and the env block would be gone.
KERNEL = "audio_transformer"
NOTEBOOK = ROOT / "audio_transformer_pipeline.ipynb"
BINARY = TOOLS / "cargo" / "bin" / "evcxr_jupyter"
# How tests and programs beside the notebook are built: in one way, so that the crate is built once for all of them.
BUILD = ["--locked", "--features", "distributed"]
CRATE = TARGET / "evcxr"
# How long libtorch's threads spin before they sleep. The default (300,000 turns) makes training ten times slower beside
# other work on the same cores; sleeping at once (0) halves its speed on cores of its own; this does neither.
SPIN_COUNT = "10000"


def host() -> str:
    """The target triple of this machine."""
    found = re.search(r"^host: (\S+)$", output_of(["rustc", "-vV"]) or "", re.MULTILINE)
    if not found:
        raise SetupError("`rustc -vV` names no host. Reinstall Rust with rustup.")
    return found[1]


def build_environment(libtorch: Path) -> dict[str, str]:
    """What cargo needs to build and run the crate exactly as the kernel does, so that one build serves both."""
    library_path = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    paths = [str(libtorch / "lib"), os.environ.get(library_path, "")]
    return {
        "LIBTORCH": str(libtorch),
        library_path: os.pathsep.join(filter(None, paths)),
        "RUSTFLAGS": "-Cprefer-dynamic",
        "CARGO_TARGET_DIR": str(CRATE / "target"),
        "CARGO_BUILD_TARGET": host(),
        "GOMP_SPINCOUNT": spin_count(),
    }


def spin_count() -> str:
    """What whoever calls the set-up has decided, else ours."""
    return os.environ.get("GOMP_SPINCOUNT", SPIN_COUNT)


def add_rust_sources(clock: Clock) -> None:
    """Adds the sources of the standard library to the toolchain: the kernel reads the types of variables out of them."""
    sysroot = output_of(["rustc", "--print", "sysroot"]) or ""
    if Path(sysroot, "lib", "rustlib", "src", "rust", "library", "core").is_dir():
        return
    if shutil.which("rustup") is None:
        raise SetupError(
            f"the sources of Rust's standard library are not in {sysroot}, and there is no rustup to add them. "
            "Install Rust with rustup (https://rustup.rs), or your system's rust-src package."
        )
    with clock.step("Rust library sources: download", download=True):
        run(["rustup", "component", "add", "rust-src"], hint=jupyter.NETWORK)


def install_evcxr(clock: Clock) -> None:
    """Builds evcxr_jupyter from its own lock file, unless this release is there."""
    key = digest(EVCXR)
    if is_done("evcxr", key) and BINARY.exists():
        return
    forget("evcxr")
    with clock.step("Rust kernel: download", download=True):
        sources = fetch_evcxr()
    build = TOOLS / "evcxr-build"
    with clock.step(f"Rust kernel: build evcxr_jupyter {EVCXR}"):
        run(
            ["cargo", "install", "--path", sources, "--locked", "--offline", "--force", "--root", TOOLS / "cargo"],
            # Variables for this project's crates would rebuild the kernel's own.
            env={"CARGO_TARGET_DIR": str(build), "RUSTFLAGS": "", "CARGO_BUILD_TARGET": host()},
        )
    for folder in (build, sources):
        shutil.rmtree(folder, ignore_errors=True)
    mark_done("evcxr", key)


def fetch_evcxr() -> Path:
    """Downloads evcxr_jupyter and everything its lock file names; the folder of its sources.

    `cargo install` downloads and builds in one go. Here a throw-away package that depends on the kernel lets
    `cargo fetch` bring its sources, and a second fetch inside them what they need.
    """
    probe = TOOLS / "evcxr-fetch"
    package = '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n'
    write_file(probe / "Cargo.toml", f'{package}\n[dependencies]\nevcxr_jupyter = "={EVCXR}"\n')
    write_file(probe / "src" / "lib.rs", "")
    run(["cargo", "fetch", "-q", "--target", host()], cwd=probe, hint=jupyter.NETWORK)
    metadata = ["cargo", "metadata", "-q", "--format-version=1", "--filter-platform", host()]
    described = output_of([*metadata, "--manifest-path", probe / "Cargo.toml"])
    packages = json.loads(described or '{"packages": []}')["packages"]
    manifests = [Path(p["manifest_path"]) for p in packages if (p["name"], p["version"]) == ("evcxr_jupyter", EVCXR)]
    if not manifests:
        raise SetupError(f"cargo did not tell where it put evcxr_jupyter {EVCXR}. Remove {probe} and run again.")
    sources = TOOLS / "evcxr-source"
    shutil.rmtree(sources, ignore_errors=True)
    shutil.copytree(manifests[0].parent, sources)
    run(["cargo", "fetch", "-q", "--locked", "--target", host()], cwd=sources, hint=jupyter.NETWORK)
    shutil.rmtree(probe)
    return sources


def write_kernelspec(libtorch: Path) -> None:
    """Registers the kernel for this project's Jupyter alone."""
    spec = {
        "argv": [str(jupyter.PYTHON), str(ROOT / "setup" / "start_kernel.py"), str(BINARY), "{connection_file}"],
        "display_name": "Rust (audio_transformer)",
        "language": "rust",
        "interrupt_mode": "message",
        "env": {
            "LIBTORCH": str(libtorch),
            # Settings of evcxr under the home folder would change what this project's kernel builds.
            "EVCXR_CONFIG_DIR": str(TOOLS / "evcxr"),
            "GOMP_SPINCOUNT": spin_count(),
            # For the kernel's analyser alone: the kernel builds with flags of its own. What it does is told in Cargo.toml.
            "RUSTFLAGS": "--cfg types_only",
        },
    }
    folder = Path(jupyter.environment()["JUPYTER_PATH"]) / "kernels" / KERNEL
    text = json.dumps(spec, indent=1) + "\n"
    if not (folder / "kernel.json").is_file() or (folder / "kernel.json").read_text(encoding="utf-8") != text:
        write_file(folder / "kernel.json", text)


def write_env_script(libtorch: Path) -> None:
    """A file to source before calling cargo by hand."""
    lines = ["# Source this before calling cargo by hand: it then shares the notebook's build. Written by the set-up."]
    lines += [f"export {name}='{value}'" for name, value in build_environment(libtorch).items()]
    write_file(TOOLS / "env.sh", "\n".join(lines) + "\n")


def build_crate(clock: Clock, libtorch: Path) -> None:
    """Builds the crate and its dependencies where the kernel will look for them.

    Cargo sees the package evcxr generates for the notebook's `:dep` lines, so that the kernel finds nothing left to do.
    """
    key = digest(ROOT / "Cargo.lock", ROOT / "Cargo.toml")
    if not is_done("fetch", key):
        # For every platform: the kernel reads the manifests of them all.
        with clock.step("Rust crates: download", download=True):
            run(["cargo", "fetch", "-q", "--locked"], hint=jupyter.NETWORK)
        mark_done("fetch", key)
    with start_kernel.folder_taken(CRATE, 0.0) as taken:
        if not taken:
            raise SetupError(start_kernel.IN_USE)
        write_file(CRATE / "Cargo.toml", generated_manifest(dependencies_of(NOTEBOOK)))
        write_file(CRATE / "src" / "lib.rs", "")
        shutil.copyfile(ROOT / "Cargo.lock", CRATE / "Cargo.lock")
        with clock.step("Rust crates: build"):
            run(["cargo", "build"], env=build_environment(libtorch), cwd=CRATE)


def dependencies_of(notebook: Path) -> dict[str, str]:
    """The notebook's `:dep` lines as Cargo dependencies, paths made absolute as evcxr makes them."""
    found = {KERNEL: '{ path = "." }'}
    if notebook.is_file():
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        lines = (line for source in sources for line in source.splitlines())
        found.update(m.groups() for line in lines if (m := re.match(r":dep\s+(\S+)\s*=\s*(.+?)\s*$", line)))

    def absolute(path: re.Match[str]) -> str:
        return f'path = "{(notebook.parent / path[1]).resolve()}"'

    return {name: re.sub(r'path\s*=\s*"([^"]+)"', absolute, config) for name, config in found.items()}


def generated_manifest(dependencies: dict[str, str]) -> str:
    """The manifest evcxr writes for its cells; profile and name decide whether what is built here is found there."""
    lines = "".join(f"{name} = {config}\n" for name, config in dependencies.items())
    return (
        '\n[package]\nname = "ctx"\nversion = "1.0.0"\nedition = "2024"\n\n[lib]\ncrate-type = ["cdylib"]\n'
        'path = "src/lib.rs"\n\n[profile.dev]\nopt-level = 2\ndebug = false\nstrip = "debuginfo"\nrpath = true\n'
        "lto = false\ndebug-assertions = true\ncodegen-units = 16\npanic = 'unwind'\nincremental = true\n"
        f"overflow-checks = true\n\n[dependencies]\n{lines}\n"
    )
