"""Makes the clips that the benchmarks read: 5 s, 44.1 kHz, mono, 16-bit WAV, as in ESC-50.

    python bench/clips.py FOLDER N

Runs in the peers' environment. ESC10_DIR may name a folder with ESC-10 recordings and their make_archive.py.
"""
import os
import pathlib
import subprocess
import sys
import tarfile

import numpy as np
import soundfile

SAMPLE_RATE = 44_100
DURATION_S = 5


def synthesise(rng: np.random.Generator) -> np.ndarray:
    """Barks, a sweep and rain over a noise floor: transients, harmonics and noise, as in recordings."""
    t = np.arange(SAMPLE_RATE * DURATION_S) / SAMPLE_RATE
    sound = 10 ** rng.uniform(-4, -2) * rng.standard_normal(t.size)
    for _ in range(rng.integers(2, 8)):
        since = t - rng.uniform(0, DURATION_S)
        envelope = np.where(since > 0, np.exp(-np.maximum(since, 0) / rng.uniform(0.02, 0.3)), 0)
        phase = 2 * np.pi * rng.uniform(80, 900) * since * (1 + rng.uniform(-0.2, 0.2) * since)
        sound += envelope * sum(np.sin(k * phase) / k for k in range(1, 12))
    sound += 0.2 * np.sin(2 * np.pi * (rng.uniform(100, 800) * t + rng.uniform(10, 1_500) * t**2))
    return 0.8 * sound / np.abs(sound).max()


def main() -> None:
    folder, n_clips = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    if esc10 := os.environ.get("ESC10_DIR"):
        archive = folder / "esc10.tar.gz"
        per_class = ["--per-class", str(-(-n_clips // 50) * 5)]
        subprocess.run([sys.executable, pathlib.Path(esc10) / "make_archive.py", archive, *per_class], check=True)
        with tarfile.open(archive) as members:
            for member in members:
                if member.name.endswith(".wav"):
                    (folder / pathlib.Path(member.name).name).write_bytes(members.extractfile(member).read())
        archive.unlink()
        return
    rng = np.random.default_rng(0)
    for i in range(n_clips):
        soundfile.write(folder / f"clip_{i:03}.wav", synthesise(rng), SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
