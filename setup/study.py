"""The long runs: five folds, the ablation, the released model. They need libtorch and the crate, not the notebook."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import esc10
import kernel
from steps import ROOT, Clock, SetupError, run

DATA = Path("target", "study")
DATASET = os.environ.get("STUDY_DATASET") or "esc10"
MODELS = ROOT / "data" / "models"
OWN_SETS = ("short", "mixed", "long", "few", "uneven", "quiet-rate", "whole", "official", "many", "demo")
RELEASED = ("tinyast-esc10.safetensors", "tinyast-esc10.json", "tinyast-esc10.runs.jsonl")


def study(clock: Clock, libtorch: Path, command: str, *further: str) -> None:
    """`examples/study COMMAND …` on ESC-10 (or STUDY_DATASET): what ESC10_DIR packs where it is set, else from ESC-50's own archive.

    What was computed before is not computed again; `make clean` forgets it.
    """
    env = {**kernel.build_environment(libtorch), "DATASET": DATASET, "DATA_DIR": str(DATA)}
    with contextlib.ExitStack() as stack:
        if DATASET == "esc10" and os.environ.get("ESC10_DIR"):
            env["ESC50_URL"] = stack.enter_context(esc10.served(clock, esc10.packing_script()))
        with clock.step(f"study {command}"):
            run(["cargo", "run", "-q", *kernel.BUILD, "--example", "study", "--", command, *further], env=env)


def inner(clock: Clock, libtorch: Path) -> None:
    """The recipes that RECIPES names, compared on inner folds, the first with each of the others."""
    recipes = os.environ.get("RECIPES", "").split()
    if not recipes:
        raise SetupError('RECIPES names none, as in RECIPES="wide:180 slim:300 wide:90+wide:90@1".')
    study(clock, libtorch, "inner", *recipes)


def curve(clock: Clock, libtorch: Path) -> None:
    """The recipes that RECIPES names, every fold held out once; without any, what the record holds."""
    study(clock, libtorch, "curve", *os.environ.get("RECIPES", "").split())


def pretrain(clock: Clock, libtorch: Path) -> None:
    """What networks may start from (`train.start`), in two rounds; cargo builds the second with what the first one wrote."""
    for command in ("pretrain", "pretrain-again"):
        study(clock, libtorch, command)


def own_data(clock: Clock, libtorch: Path) -> None:
    """`examples/own_data`: the sets, each by the notebook's former default and by settings that fit, and these beside settings by hand."""
    runs = [["run", name, recipe] for name in OWN_SETS for recipe in ("quick", "fitted")]
    on_sets(clock, libtorch, "own_data", [*runs, ["table"], ["starts"], ["by-hand"]])


def unknown(clock: Clock, libtorch: Path) -> None:
    """`examples/unknown.rs`: each pair of classes left out once."""
    on_sets(clock, libtorch, "unknown", [*(["run", str(pair)] for pair in range(5)), ["table"]])


def on_sets(clock: Clock, libtorch: Path, example: str, commands: list[list[str]]) -> None:
    """The sets made from the recordings of ESC10_DIR, and an example's commands on them."""
    env = kernel.build_environment(libtorch)
    program = ["cargo", "run", "-q", *kernel.BUILD, "--example"]
    with clock.step("own data: the sets"):
        run([*program, "own_data", "--", "make", esc10.packing_script().parent], env=env)
    for words in commands:
        with clock.step(f"{example}: {' '.join(words)}"):
            run([*program, example, "--", *words], env=env)


def release(clock: Clock, libtorch: Path) -> None:
    """Five folds, the quick preset beside them, and with ESC-10 the released model with its sheet into data/models."""
    for command in ("five-folds", "release", "quick"):
        study(clock, libtorch, command)
    if DATASET == "esc10":
        for name in RELEASED:
            shutil.copyfile(ROOT / DATA / "models" / name, MODELS / name)
