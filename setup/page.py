"""What runs in the page that `export --page` makes: built from `page/`, kept in the project, and held to the crate in a browser.

It is built on request alone. A person who exports a page needs no compiler for it, and a change of the front end or the network
shows in `make test-browser`, which compares the page's answers with the crate's.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import browser
import kernel
from steps import ROOT, TARGET, Clock, SetupError, output_of, run, say

CRATE = ROOT / "page"
RUNTIME = ROOT / "src" / "results" / "export" / "page" / "runtime.wasm.gz"
PLATFORM = "wasm32-unknown-unknown"
CHECK = ROOT / "tests" / "browser" / "page.py"
RELEASED = ROOT / "data" / "models" / "tinyast-esc10.safetensors"
OUTPUT = TARGET / "browser-page"
LIMIT_S = 600
# Recordings beside those that are committed: real ones of the fold that the released network never heard.
N_REAL = 20


def build(clock: Clock) -> None:
    """The runtime anew."""
    cargo_home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    sources = next((cargo_home / "registry" / "src").glob("*"), cargo_home)
    toolchain = output_of(["rustc", "--print", "sysroot"]) or "/"
    # Places in panics, without the machine's own folders; where two fit, the last one counts.
    names = {toolchain.strip(): "rust", cargo_home: "cargo", sources: "crates", ROOT: "."}
    remapped = [f"--remap-path-prefix={place}={name}" for place, name in names.items()]
    environment = {"RUSTFLAGS": " ".join(["-Ctarget-feature=+simd128", *remapped]), "CARGO_TARGET_DIR": str(TARGET / "page")}
    with clock.step("the page's runtime"):
        run(["rustup", "target", "add", PLATFORM], failure=f"rustup has no {PLATFORM} for this toolchain.")
        run(["cargo", "build", "--release", "--locked", "--target", PLATFORM], env=environment, cwd=CRATE)
    built = TARGET / "page" / PLATFORM / "release" / "audio_transformer_page.wasm"
    RUNTIME.write_bytes(gzip.compress(built.read_bytes(), 9, mtime=0))
    say(f"{RUNTIME.relative_to(ROOT)}: {RUNTIME.stat().st_size / 1e6:.1f} MB")


def test(clock: Clock, libtorch: Path, chromium: str) -> None:
    """The released network's page in Chromium, beside what the crate says of the same recordings."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    environment = kernel.build_environment(libtorch)
    example = ["cargo", "run", "-q", *kernel.BUILD, "--example"]
    real = sorted(Path(os.environ.get("ESC10_DIR") or ROOT.parent / "shared" / "esc10").glob("ogg/1-*.ogg"))[:N_REAL]
    with clock.step("the page in Chromium"):
        run([*example, "export", "--", "--page", RELEASED, OUTPUT], env=environment)
        answers = OUTPUT / "answers.jsonl"
        with answers.open("w", encoding="utf-8") as lines:
            # Some of the recordings are damaged, and the status says so.
            command = [*example, "predict", "--", "--top", "100", ROOT / "tests" / "fixtures" / "audio", *real]
            subprocess.run(command, env={**os.environ, **environment}, cwd=ROOT, stdout=lines, stderr=subprocess.DEVNULL)
        try:
            command = [browser.PYTHON, CHECK, OUTPUT / "index.html", answers, chromium, OUTPUT]
            status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=LIMIT_S).returncode
        except subprocess.TimeoutExpired as error:
            raise SetupError(f"the page's test took longer than {LIMIT_S // 60} minutes and was ended.") from error
        if status:
            raise SetupError(f"the page's test failed; its reason stands above, what it looked like in {OUTPUT}.\n"
                             "After a change of front end or network: make page-runtime.")
