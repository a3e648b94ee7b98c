"""libtorch: an existing one, or the one inside PyTorch's own wheel, unpacked without Python around it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import zipfile
from pathlib import Path, PurePosixPath

from jupyter import DOWNLOADS, NETWORK, pip
from steps import ROOT, TOOLS, Clock, SetupError, digest, forget, is_done, mark_done, run, write_file

# The release that tch 0.26 binds to; torch-sys refuses others where it can tell.
VERSION = "2.13.0"
MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_25", "manylinux_2_18", "manylinux_2_17", "manylinux2014")
# Raised when what is unpacked, or where, changes.
LAYOUT = "1"
# The wheels looked into; libtorch is the same for every Python release, so one is asked for by name.
WHEEL_TAGS = {
    ("linux", "x86_64"): [f"{tag}_x86_64" for tag in MANYLINUX],
    ("linux", "aarch64"): [f"{tag}_aarch64" for tag in MANYLINUX],
    ("darwin", "arm64"): ["macosx_14_0_arm64"],
}
# Libraries of the wheel that a Rust program on the CPU never loads. A folder without libtorch_cuda.so makes torch-sys
# leave CUDA out, and the linker drops libtorch.so, which is empty but names libtorch_cuda.so as its own dependency.
NOT_FOR_RUST = ("libtorch_python", "libshm", "libtorch_global_deps")
NOT_FOR_CPU = ("libtorch_cuda", "libc10_cuda", "libcaffe2_nvrtc", "libtorch_nvshmem")


def prepare(clock: Clock) -> Path:
    """The folder to build against: `LIBTORCH` when set, else one of the project's own (`CUDA=1` for the GPU)."""
    if given := os.environ.get("LIBTORCH"):
        return check_given(Path(given).expanduser())
    cuda = os.environ.get("CUDA", "") not in ("", "0")
    root, requirements = (TOOLS / "libtorch-cuda", "torch-cuda.txt") if cuda else (TOOLS / "libtorch", "torch.txt")
    folder = root / "torch" if cuda else root
    key = digest(LAYOUT, *(ROOT / "setup" / name for name in ("torch.txt", requirements)))
    if is_done(root.name, key) and folder.exists():
        return folder
    forget(root.name)
    wheels = DOWNLOADS / root.name
    with clock.step("libtorch: download", download=True):
        download(wheels, requirements, cuda)
    with clock.step("libtorch: unpack"):
        unpack(wheels, root, cuda)
    shutil.rmtree(wheels)
    mark_done(root.name, key)
    return folder


def check_given(folder: Path) -> Path:
    """An existing libtorch of the right version, with headers and libraries."""
    for part in ("include/torch", "lib"):
        if not (folder / part).is_dir():
            raise SetupError(
                f"LIBTORCH={folder}: expected the folder {part} in it, found none. Set LIBTORCH to the folder that "
                "holds include/ and lib/, or unset it to let the set-up bring its own libtorch."
            )
    found = version_of(folder)
    if found != VERSION and "LIBTORCH_BYPASS_VERSION_CHECK" not in os.environ:
        raise SetupError(
            f"LIBTORCH={folder}: expected libtorch {VERSION}, which tch 0.26 is made for, "
            f"found {found or 'no version'}. Set LIBTORCH to a libtorch {VERSION}, "
            "or unset it to let the set-up bring its own."
        )
    return folder.resolve()


def version_of(folder: Path) -> str | None:
    """The version a libtorch folder tells: in its build-version file, else in its headers."""
    told = folder / "build-version"
    if told.is_file():
        return told.read_text(encoding="utf-8").strip().split("+")[0]
    for header in ("torch/headeronly/version.h", "torch/csrc/api/include/torch/version.h"):
        path = folder / "include" / header
        if path.is_file():
            lines = path.read_text(encoding="utf-8")
            parts = dict(re.findall(r"#define TORCH_VERSION_(MAJOR|MINOR|PATCH) (\d+)", lines))
            if len(parts) == 3:
                return f"{parts['MAJOR']}.{parts['MINOR']}.{parts['PATCH']}"
    return None


def download(wheels: Path, requirements: str, cuda: bool) -> None:
    """Fetches the wheels whose SHA-256 stand in the requirements file; pip refuses all others."""
    system = (sys.platform, platform.machine())
    if system not in WHEEL_TAGS or (cuda and system[0] != "linux"):
        raise SetupError(
            f"no libtorch{' with CUDA' if cuda else ''} is known here for {system[0]} on {system[1]}. "
            f"Install libtorch {VERSION} yourself and set LIBTORCH to its folder."
        )
    tags = [word for tag in WHEEL_TAGS[system] for word in ("--platform", tag)]
    run(
        pip(
            "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--require-hashes", "--python-version",
            "3.11", *tags, "-r", ROOT / "setup" / requirements, "-d", wheels,
        ),
        hint=NETWORK,
    )


def unpack(wheels: Path, root: Path, cuda: bool) -> None:
    """Unpacks headers and libraries beside their place and renames the folder into it."""
    beside = root.with_name(f"{root.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                if not entry.is_dir() and (place := place_of(PurePosixPath(entry.filename), cuda)):
                    target = beside / place
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(entry) as source, target.open("wb") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)
    write_file((beside / "torch" if cuda else beside) / "build-version", VERSION + "\n")
    shutil.rmtree(root, ignore_errors=True)
    beside.rename(root)


def place_of(entry: PurePosixPath, cuda: bool) -> PurePosixPath | None:
    """Where a file of a wheel goes, or None for what is not needed.

    With CUDA the wheels' own layout stays (torch/lib beside nvidia/*/lib), because the libraries find each other by it.
    On the CPU everything lies flat in lib/.
    """
    parts = entry.parts
    if parts[0] == "torch" and parts[1] == "include":
        return entry if cuda else PurePosixPath(*parts[1:])
    shared = ".so" in entry.name or entry.suffix == ".dylib"
    library = shared and len(parts) > 2 and parts[-2] == "lib" and parts[0] in ("torch", "nvidia")
    unwanted = NOT_FOR_RUST if cuda else NOT_FOR_RUST + NOT_FOR_CPU
    if not library or entry.name.startswith(unwanted):
        return None
    if cuda:
        return entry
    # Of the NVIDIA wheels the CPU build loads the two libraries it is linked to, not their companions.
    wanted = parts[0] == "torch" or entry.name.startswith(("libcudart.so", "libcupti.so"))
    return PurePosixPath("lib", entry.name) if wanted else None
