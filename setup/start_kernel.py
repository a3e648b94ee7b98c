"""Starts the Rust kernel for Jupyter: `start_kernel.py EVCXR_JUPYTER CONNECTION_FILE`.

What Jupyter does not do by itself: the path on which libtorch is found at run time; a cargo that keeps the versions of
Cargo.lock (kernel_bin); one kernel per build folder (two
would overwrite each other's code); one client per channel, which relay.py is; an end together with the program that
started it, and for the kernel's own child, which runs the cells, an end together with the kernel (it would go on to the
end of its cell, minutes maybe).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# After a restart the old kernel may still be leaving.
WAIT_S = 10.0
WATCH_S = 0.5
PR_SET_PDEATHSIG = 1
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
IN_USE = (
    "target/evcxr is in use by another Rust kernel of this project, and it takes one at a time: shut that kernel down "
    "(in JupyterLab: Kernel > Shut Down Kernel, or end `make lab`), then try again."
)


def main(binary: str, connection_file: str) -> None:
    """Replaces this process by the kernel."""
    if libtorch := os.environ.get("LIBTORCH"):
        name = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
        os.environ[name] = os.pathsep.join(filter(None, [f"{libtorch}/lib", os.environ.get(name)]))
    find_cargo_first_here()
    if Path("evcxr.toml").exists():
        lock = take_folder(Path("target", "evcxr"), WAIT_S)
        if lock is None:
            sys.exit(IN_USE)
        os.set_inheritable(lock, True)
    kernel = os.getpid()
    if os.getpgrp() == kernel and os.fork() == 0:
        watch(kernel)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execv(binary, [binary, "--control_file", relayed(connection_file)])


def find_cargo_first_here() -> None:
    """Lets the kernel find the cargo in kernel_bin, and that one the true cargo."""
    rustup, cargo = shutil.which("rustup"), shutil.which("cargo")
    if rustup:
        found = subprocess.run([rustup, "which", "cargo"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        cargo = found.stdout.strip() if found.returncode == 0 else cargo
    if cargo:
        own = str(Path(__file__).resolve().with_name("kernel_bin"))
        os.environ.update(KERNEL_CARGO=cargo, KERNEL_RUSTUP=rustup or "")
        os.environ["PATH"] = os.pathsep.join(filter(None, [own, os.environ.get("PATH")]))


def relayed(connection_file: str) -> str:
    """Starts the relay between this connection file and another for the kernel; the other."""
    front = json.loads(Path(connection_file).read_text(encoding="utf-8"))
    # The ports that Jupyter has chosen are free until the relay takes them.
    chosen = {front[f"{channel}_port"] for channel in CHANNELS}
    with contextlib.ExitStack() as probes:
        for channel in CHANNELS:
            while front[f"{channel}_port"] in chosen:
                probe = probes.enter_context(socket.socket())
                probe.bind(("127.0.0.1", 0))
                front[f"{channel}_port"] = probe.getsockname()[1]
    # Like Jupyter's own: the key in it signs messages.
    back_file = Path(connection_file).with_suffix(".relayed.json")
    with open(os.open(back_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({**front, "transport": "tcp", "ip": "127.0.0.1"}, file)
    relay = Path(__file__).with_name("relay.py")
    subprocess.Popen([sys.executable, str(relay), connection_file, str(back_file)], stdin=subprocess.DEVNULL)
    return str(back_file)


def watch(kernel: int) -> None:
    """Waits in a process of its own until the kernel is gone, then ends what is left of its process group."""
    while os.getppid() == kernel:
        time.sleep(WATCH_S)
    os.killpg(kernel, signal.SIGKILL)


@contextlib.contextmanager
def folder_taken(folder: Path, wait_s: float) -> Iterator[bool]:
    """Holds the lock of a build folder; False when another process has it and keeps it."""
    lock = take_folder(folder, wait_s)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def take_folder(folder: Path, wait_s: float) -> int | None:
    """Locks a build folder until the file returned is closed, by this process and all it becomes or starts."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / ".kernel-lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(lock)
                return None
            time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
