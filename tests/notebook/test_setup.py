"""The set-up's own decisions: what it asks of the machine, of a libtorch, and what it takes for done."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path, PurePosixPath
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "setup"))

import jupyter  # noqa: E402  (found only after the line above)
import kernel  # noqa: E402
import libtorch  # noqa: E402
import prerequisites  # noqa: E402
import steps  # noqa: E402


class TemporaryFolder(unittest.TestCase):
    """A folder per test."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)


class MissingPrerequisites(TemporaryFolder):
    """Each is named with the command that installs it."""

    def problems_with_path(self, **programs: str) -> str:
        """What `make setup` says on a machine whose PATH holds these programs alone."""
        for name, script in programs.items():
            program = self.folder / name.replace("cxx", "c++")
            program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            program.chmod(0o755)
        environment = {k: v for k, v in os.environ.items() if k not in ("CC", "CXX", "LIBTORCH")}
        result = subprocess.run(
            [sys.executable, str(ROOT / "setup" / "prepare.py"), "setup"],
            env={**environment, "PATH": str(self.folder)}, capture_output=True, text=True, check=False,
        )
        self.assertEqual(result.returncode, 1, result.stdout)
        return result.stderr

    def test_a_bare_machine_is_told_everything_at_once(self) -> None:
        told = self.problems_with_path()
        for words in ("rustc and cargo not found", "https://sh.rustup.rs", "a C++ compiler (c++ and cc not found)"):
            self.assertIn(words, told)

    def test_an_old_rust_is_told_the_release_needed_and_the_one_found(self) -> None:
        told = self.problems_with_path(rustc="echo rustc 1.70.0", cargo="echo cargo 1.70.0", cc="", cxx="")
        self.assertIn("Rust 1.95 or newer (found rustc 1.70.0)", told)
        self.assertIn("rustup update stable", told)
        self.assertNotIn("compiler", told)

    def test_install_commands_differ_by_system(self) -> None:
        with mock.patch.object(sys, "platform", "linux"):
            self.assertIn("sudo apt install build-essential", prerequisites.item("x", "c++"))
        with mock.patch.object(sys, "platform", "darwin"):
            self.assertIn("xcode-select --install", prerequisites.item("x", "c++"))

    def test_the_release_asked_for_is_no_older_than_the_crate_asks(self) -> None:
        manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
        asked = re.search(r'^rust-version = "([\d.]+)"', manifest, re.MULTILINE)[1]
        self.assertGreaterEqual(prerequisites.RUST_MIN, prerequisites.version_of(asked))


class GivenLibtorch(TemporaryFolder):
    """An existing LIBTORCH is checked before anything is compiled."""

    def libtorch(self, header: str, text: str) -> Path:
        """A folder with a version header and nothing else."""
        path = self.folder / "include" / header
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        (self.folder / "include" / "torch").mkdir(exist_ok=True)
        (self.folder / "lib").mkdir()
        return self.folder

    def header(self, minor: int) -> str:
        return f"#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR {minor}\n#define TORCH_VERSION_PATCH 0\n"

    def test_the_right_version_is_taken(self) -> None:
        folder = self.libtorch("torch/headeronly/version.h", self.header(13))
        self.assertEqual(libtorch.check_given(folder), folder.resolve())

    def test_another_version_is_refused_with_both_versions(self) -> None:
        folder = self.libtorch("torch/csrc/api/include/torch/version.h", self.header(6))
        with self.assertRaisesRegex(steps.SetupError, r"expected libtorch 2\.13\.0.*found 2\.6\.0.*Set LIBTORCH"):
            libtorch.check_given(folder)

    def test_the_build_version_file_is_believed_first(self) -> None:
        folder = self.libtorch("torch/headeronly/version.h", self.header(6))
        (folder / "build-version").write_text("2.13.0+cpu\n", encoding="utf-8")
        self.assertEqual(libtorch.check_given(folder), folder.resolve())

    def test_a_folder_that_is_no_libtorch_is_refused(self) -> None:
        with self.assertRaisesRegex(steps.SetupError, "expected the folder include/torch"):
            libtorch.check_given(self.folder)

    def test_set_up_stops_at_the_wrong_version_before_it_makes_anything(self) -> None:
        folder = self.libtorch("torch/headeronly/version.h", self.header(12))
        result = subprocess.run(
            [sys.executable, str(ROOT / "setup" / "prepare.py"), "setup"],
            env={**os.environ, "LIBTORCH": str(folder)}, capture_output=True, text=True, check=False,
        )
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("found 2.12.0", result.stderr)

    def test_the_version_wanted_is_the_one_the_bindings_were_made_for(self) -> None:
        described = subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--locked", "--offline"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )
        packages = json.loads(described.stdout)["packages"]
        bindings = next(Path(p["manifest_path"]).parent for p in packages if p["name"] == "torch-sys")
        script = (bindings / "build.rs").read_text(encoding="utf-8")
        self.assertEqual(re.search(r'const TORCH_VERSION: &str = "([\d.]+)"', script)[1], libtorch.VERSION)


class WhatIsUnpacked(unittest.TestCase):
    """Headers and the libraries a Rust program loads, and nothing of CUDA on the CPU."""

    def place(self, entry: str, cuda: bool) -> str | None:
        place = libtorch.place_of(PurePosixPath(entry), cuda)
        return str(place) if place else None

    def test_on_the_cpu_everything_lies_flat(self) -> None:
        self.assertEqual(self.place("torch/include/c10/util/Half.h", False), "include/c10/util/Half.h")
        self.assertEqual(self.place("torch/lib/libtorch_cpu.so", False), "lib/libtorch_cpu.so")
        self.assertEqual(self.place("nvidia/cu13/lib/libcudart.so.13", False), "lib/libcudart.so.13")

    def test_on_the_cpu_nothing_makes_the_bindings_link_cuda(self) -> None:
        for entry in ("torch/lib/libtorch_cuda.so", "torch/lib/libc10_cuda.so", "torch/lib/libtorch_nvshmem.so"):
            self.assertIsNone(self.place(entry, False))

    def test_with_cuda_the_libraries_keep_the_places_they_look_for_each_other_in(self) -> None:
        for entry in ("torch/lib/libtorch_cuda.so", "nvidia/cudnn/lib/libcudnn.so.9", "torch/include/c10/util/Half.h"):
            self.assertEqual(self.place(entry, True), entry)

    def test_other_platforms_keep_the_libraries_theirs_are_linked_to(self) -> None:
        for entry in ("torch/lib/libarm_compute.so", "torch/lib/libgfortran.so.5", "torch/lib/libomp.dylib"):
            self.assertEqual(self.place(entry, False), entry.removeprefix("torch/"))

    def test_nothing_of_python_is_kept(self) -> None:
        for cuda in (False, True):
            for entry in ("torch/__init__.py", "torch/lib/libtorch_python.so", "torch-2.13.0.dist-info/RECORD"):
                self.assertIsNone(self.place(entry, cuda))


class WhatIsTakenForDone(TemporaryFolder):
    """A step is done when its last act was its stamp, made from the same inputs."""

    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(steps, "STAMPS", self.folder / "stamps")
        patch.start()
        self.addCleanup(patch.stop)

    def test_a_changed_input_undoes_a_step(self) -> None:
        listing = self.folder / "requirements.txt"
        listing.write_text("numpy==2.2.6\n", encoding="utf-8")
        steps.mark_done("venv", steps.digest(listing, "3.11"))
        self.assertTrue(steps.is_done("venv", steps.digest(listing, "3.11")))
        self.assertFalse(steps.is_done("venv", steps.digest(listing, "3.12")))
        listing.write_text("numpy==2.2.7\n", encoding="utf-8")
        self.assertFalse(steps.is_done("venv", steps.digest(listing, "3.11")))

    def test_a_step_begun_again_and_interrupted_is_not_done(self) -> None:
        steps.mark_done("libtorch", "key")
        steps.forget("libtorch")
        self.assertFalse(steps.is_done("libtorch", "key"))

    def test_downloads_are_told_apart_in_the_summary(self) -> None:
        clock = steps.Clock()
        clock.started -= 30.0
        clock.steps = [("fetch", True, 20.0), ("build", False, 10.0)]
        self.assertRegex(clock.summary(), r"total 30\.\d s, of which downloading 20\.0 s: 10\.\d s without it")

    def test_a_step_that_fails_is_not_booked(self) -> None:
        clock = steps.Clock()
        with self.assertRaises(steps.SetupError), mock.patch.object(steps, "say"), clock.step("build"):
            raise steps.SetupError("no")
        self.assertEqual(clock.steps, [])


class WhoInstalls(TemporaryFolder):
    """uv where it is installed, else pip; the same packages either way."""

    def commands(self, uv: str | None) -> list[list[str]]:
        with (
            mock.patch.object(jupyter.shutil, "which", lambda name: uv if name == "uv" else None),
            mock.patch.object(jupyter, "run") as run,
        ):
            jupyter.make_venv(self.folder)
            jupyter.add(jupyter.REQUIREMENTS, "--no-deps", python=self.folder / "bin" / "python")
        return [[str(word) for word in call.args[0]] for call in run.call_args_list]

    def test_uv_is_used_where_it_is_and_leaves_a_pip_behind(self) -> None:
        made, added = self.commands("/somewhere/uv")
        self.assertEqual(made[:2], ["uv", "venv"])
        self.assertIn("--seed", made)
        self.assertEqual(added[:3], ["uv", "pip", "install"])
        self.assertEqual(added[-3:], ["--no-deps", "-r", str(jupyter.REQUIREMENTS)])

    def test_pip_is_the_way_back(self) -> None:
        made, added = self.commands(None)
        self.assertEqual(made[1:3], ["-m", "venv"])
        self.assertEqual(added[1:3], ["-m", "pip"])
        self.assertEqual(added[-3:], ["--no-deps", "-r", str(jupyter.REQUIREMENTS)])


class TheWarmedBuild(TemporaryFolder):
    """The package built ahead is the one evcxr will generate for the notebook."""

    def notebook(self, *sources: str) -> Path:
        path = self.folder / "some.ipynb"
        cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
        path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
        return path

    def test_dep_lines_become_dependencies_with_absolute_paths(self) -> None:
        notebook = self.notebook(':dep audio_transformer = { path = "." }\nlet x = 1;', ':dep hound = "3.5"')
        found = kernel.dependencies_of(notebook)
        where = self.folder.resolve()
        self.assertEqual(found, {"audio_transformer": f'{{ path = "{where}" }}', "hound": '"3.5"'})

    def test_its_profile_is_the_one_the_crate_names(self) -> None:
        profile = re.search(r"\[profile\.dev\]\n(.*?)\n\n", kernel.generated_manifest({}) + "\n", re.DOTALL)[1]
        crate = (ROOT / "Cargo.toml").read_text(encoding="utf-8").split("[profile.dev]\n")[1]
        wanted = [line for line in crate.splitlines() if "=" in line and not line.startswith("#")]
        self.assertEqual(sorted(profile.replace("'", '"').splitlines()), sorted(wanted))


if __name__ == "__main__":
    unittest.main()
