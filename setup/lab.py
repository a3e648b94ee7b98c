"""JupyterLab: the command that starts it, and one that serves a test from a state of its own and ends with it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import jupyter
import kernel
import start_kernel
from steps import ROOT, SetupError

START_S = 180.0
# It shuts its kernel down first.
END_S = 30.0


def command(*arguments: str) -> list[str]:
    """JupyterLab's command line."""
    # Jupyter refuses to serve as root, the user of most containers, unless told that this is meant.
    as_root = ["--allow-root"] if os.geteuid() == 0 else []
    # Looking for language servers runs npm, which writes into the home folder.
    quiet = "--LanguageServerManager.autodetect=False"
    return [str(jupyter.PYTHON), "-m", "jupyterlab", *as_root, quiet, *arguments]


@contextlib.contextmanager
def served(state: Path, env: dict[str, str]) -> Iterator[tuple[str, str]]:
    """A JupyterLab in the project folder that knows no setting but one and trusts no notebook; its address and token.

    Its settings, its log and the list of notebooks it trusts lie under `state`. It ends with this program, and its
    kernel with it.
    """
    with start_kernel.folder_taken(kernel.CRATE, 0.0) as taken:
        if not taken:
            raise SetupError(start_kernel.IN_USE)
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    # Where a slow machine saves by itself while it is told to save, JupyterLab asks which of the two files counts.
    saving = state / "settings" / "@jupyterlab" / "docmanager-extension" / "plugin.jupyterlab-settings"
    saving.parent.mkdir(parents=True)
    saving.write_text('{"autosave": false}\n', encoding="utf-8")
    port, token, log = free_port(), secrets.token_hex(16), state / "jupyterlab.log"
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--no-browser"]
    # The token comes by the environment: a command line is open to everyone on the machine.
    variables = {**os.environ, **environment(state), "JUPYTER_TOKEN": token, **env}
    places = [f"--FileCheckpoints.checkpoint_dir={state / 'checkpoints'}"]
    with log.open("w", encoding="utf-8") as file, ended_by_sigterm():
        server = subprocess.Popen(
            command(*options, *places), cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            start_new_session=True, preexec_fn=end_with_parent if sys.platform == "linux" else None,
        )
        try:
            wait_until_up(server, f"http://127.0.0.1:{port}/api/status?token={token}", log)
            yield f"http://127.0.0.1:{port}", token
        finally:
            end(server)


def environment(state: Path) -> dict[str, str]:
    """Where this JupyterLab keeps what `make lab` must never see; the kernels are the same."""
    return {
        **jupyter.environment(),
        "JUPYTER_CONFIG_DIR": str(state / "config"),
        "JUPYTER_DATA_DIR": str(state / "data"),
        "JUPYTER_RUNTIME_DIR": str(state / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(state / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(state / "workspaces"),
    }


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_with_parent() -> None:
    """Has the kernel of the system end this process when the one that started it is gone, however that went."""
    ctypes.CDLL(None, use_errno=True).prctl(start_kernel.PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end this program the way an error would, so that what was started is ended first."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def wait_until_up(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Returns when JupyterLab answers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(address, timeout=10).close()
            return
        time.sleep(0.2)
    ending = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
    raise SetupError(f"JupyterLab did not start within {START_S:.0f} s. Its log, {log}, ends with:\n{ending}")


def end(server: subprocess.Popen[bytes]) -> None:
    """Ends JupyterLab; in its own time if it can, for it shuts its kernel down on the way."""
    server.terminate()
    try:
        server.wait(END_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
