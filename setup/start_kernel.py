"""Starts the Rust kernel for Jupyter: `start_kernel.py EVCXR_JUPYTER CONNECTION_FILE`.

Three things Jupyter does not do by itself: the path on which libtorch is found at run time, one kernel per build folder
(two would overwrite each other's code), and an end together with the program that started it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

# After a restart the old kernel may still be leaving.
WAIT_S = 20.0
PR_SET_PDEATHSIG = 1
IN_USE = (
    "target/evcxr is in use by another Rust kernel of this project, and it takes one at a time: shut that kernel down "
    "(in JupyterLab: Kernel > Shut Down Kernel, or end `make lab`), then try again."
)


def main(binary: str, connection_file: str) -> None:
    """Replaces this process by the kernel."""
    if libtorch := os.environ.get("LIBTORCH"):
        name = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
        os.environ[name] = os.pathsep.join(filter(None, [f"{libtorch}/lib", os.environ.get(name)]))
    if Path("evcxr.toml").exists() and not take_folder(Path("target", "evcxr"), WAIT_S):
        sys.exit(IN_USE)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execv(binary, [binary, "--control_file", connection_file])


def take_folder(folder: Path, wait_s: float) -> bool:
    """Locks a build folder for as long as this process lives, a kernel it turns into included; False when it is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / ".kernel-lock", os.O_RDWR | os.O_CREAT, 0o644)
    os.set_inheritable(lock, True)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                return False
            time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
