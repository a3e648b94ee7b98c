"""JupyterLab in a virtual environment under .tools, and the variables that keep Jupyter inside the project folder."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from steps import ROOT, TOOLS, Clock, digest, forget, is_done, mark_done, run

VENV = TOOLS / "venv"
PYTHON = VENV / "bin" / "python"
DOWNLOADS = TOOLS / "downloads"
REQUIREMENTS = ROOT / "setup" / "requirements.txt"


def pip(*arguments: str | Path, python: Path = PYTHON) -> list[str | Path]:
    """A pip command of a virtual environment."""
    return [python, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]


def environment() -> dict[str, str]:
    """Where Jupyter and IPython look and write: nothing under the home folder."""
    home = TOOLS / "jupyter"
    return {
        "JUPYTER_PATH": str(home / "share"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "lab" / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "lab" / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def make_venv(folder: Path) -> None:
    """A fresh virtual environment with pip in it; by uv where it is installed, else by Python's own venv."""
    if shutil.which("uv"):
        run(["uv", "venv", "-q", "--clear", "--seed", "--python", sys.executable, folder], hint=NETWORK)
    else:
        run([sys.executable, "-m", "venv", "--clear", folder])


def add(requirements: Path, *options: str, python: Path = PYTHON) -> None:
    """Downloads and installs what a requirements file pins, by uv where it is installed, else by pip."""
    by_uv = ["uv", "pip", "install", "-q", "--python", python]
    command = by_uv if shutil.which("uv") else pip("install", "-q", python=python)
    run([*command, *options, "-r", requirements], hint=NETWORK)


def install(clock: Clock) -> None:
    """Makes the virtual environment from setup/requirements.txt, unless it stands."""
    key = digest(REQUIREMENTS, sys.version, platform.machine())
    if is_done("venv", key) and PYTHON.exists():
        return
    forget("venv")
    with clock.step("JupyterLab: virtual environment"):
        make_venv(VENV)
    with clock.step("JupyterLab: download and install", download=True):
        add(REQUIREMENTS, "--no-deps")
    mark_done("venv", key)


NETWORK = "Without a network nothing can be downloaded; run the same command again when there is one."
