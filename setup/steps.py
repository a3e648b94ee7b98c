"""Timed steps, stamps and child processes: what every part of the set-up shares. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
STAMPS = TOOLS / "stamps"
TARGET = ROOT / "target"


class SetupError(Exception):
    """Something the person at the terminal has to know: what, why, and the next step."""


class Clock:
    """Seconds per step, with those spent downloading told apart."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.steps: list[tuple[str, bool, float]] = []

    @contextlib.contextmanager
    def step(self, name: str, *, download: bool = False) -> Iterator[None]:
        """Announces a step, and books its seconds when it succeeded."""
        say(f"==> {name}")
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        self.steps.append((name, download, seconds))
        say(f"    {seconds:.1f} s")

    def summary(self) -> str:
        """A table of the steps that did something, and the total with and without downloads."""
        total = time.monotonic() - self.started
        downloads = sum(seconds for _, download, seconds in self.steps if download)
        width = max((len(name) for name, _, _ in self.steps), default=0)
        lines = [
            f"  {name:<{width}} {seconds:8.1f} s{'  (download)' if download else ''}"
            for name, download, seconds in self.steps
        ]
        return "\n".join(
            ["Seconds per step:", *lines]
            + [f"  total {total:.1f} s, of which downloading {downloads:.1f} s: {total - downloads:.1f} s without it"]
        )

    def save(self, path: Path) -> None:
        """Writes the same numbers as JSON."""
        rows = [{"step": name, "download": download, "seconds": round(s, 2)} for name, download, s in self.steps]
        write_file(path, json.dumps({"total_s": round(time.monotonic() - self.started, 2), "steps": rows}, indent=1))


def say(line: str) -> None:
    """Prints a line at once, so that it stands before the output of the child process it announces."""
    print(line, flush=True)


def write_file(path: Path, text: str) -> None:
    """Writes a file beside its place and renames it, so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def digest(*parts: str | Path) -> str:
    """One name for what a step was made from: the texts given and the contents of the files given."""
    state = hashlib.sha256(str(ROOT).encode())
    for part in parts:
        state.update(b"\0" + (part.read_bytes() if isinstance(part, Path) else part.encode()))
    return state.hexdigest()


def is_done(stamp: str, key: str) -> bool:
    """Whether a step was finished from exactly these inputs."""
    path = STAMPS / stamp
    return path.is_file() and path.read_text(encoding="utf-8") == key


def mark_done(stamp: str, key: str) -> None:
    """Remembers that a step is finished; the last thing a step does."""
    write_file(STAMPS / stamp, key)


def forget(stamp: str) -> None:
    """Makes a step run again; the first thing a step does."""
    (STAMPS / stamp).unlink(missing_ok=True)


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    hint: str = "",
    failure: str | None = None,
) -> None:
    """Runs a child process with its output on the terminal; when it fails, stops with `failure` or its command line."""
    words = [str(word) for word in command]
    result = subprocess.run(words, env={**os.environ, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL, check=False)
    if result.returncode != 0 and failure:
        raise SetupError(failure)
    if result.returncode != 0:
        tail = f" {hint}" if hint else ""
        raise SetupError(f"`{shlex.join(words)}` ended with status {result.returncode}; its output is above.{tail}")


def output_of(command: Sequence[str | Path]) -> str | None:
    """What a program prints, or None when it is missing or fails."""
    try:
        result = subprocess.run(
            [str(word) for word in command], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        return None
    return result.stdout.decode(errors="replace").strip() if result.returncode == 0 else None
