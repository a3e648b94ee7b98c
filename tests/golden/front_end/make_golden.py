#!/usr/bin/env python3
"""Write librosa's answers for the tests of the audio front end (tests/golden_front_end.rs).

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python make_golden.py

The same versions give the same files; cases.json lists every case with its settings and the versions used.
"""
import json
import pathlib
import platform

import librosa
import numpy as np
import scipy
import soxr

HERE = pathlib.Path(__file__).resolve().parent

MEL_FILTERS = [
    # sample_rate, n_fft, n_mels, f_min, f_max, htk, norm
    (16_000, 1024, 64, 0.0, 8_000.0, False, "slaney"),
    (16_000, 400, 80, 20.0, 7_600.0, True, None),
    (22_050, 512, 40, 20.0, 11_025.0, False, None),
    (44_100, 512, 40, 50.0, 15_000.0, True, "slaney"),
    (8_000, 255, 26, 0.0, 4_000.0, True, "slaney"),
    (16_000, 256, 96, 0.0, 8_000.0, False, "slaney"),  # some filters fall between two bins
]
STFTS = [
    # n_fft, win_length, hop_length, padding
    (256, 256, 64, "reflect"),
    (256, 200, 100, "zero"),
    (256, 256, 64, "none"),
    (400, 399, 160, "reflect"),
    (255, 255, 100, "zero"),
]
FEATURES = [
    # n_fft, win_length, hop_length, n_mels, f_min, f_max, htk, norm, padding, top_db, amin
    (1024, 1024, 256, 64, 0.0, 8_000.0, False, "slaney", "zero", 80.0, 1e-10),
    (1024, 1024, 256, 64, 0.0, 8_000.0, False, "slaney", "reflect", 80.0, 1e-10),
    (1024, 1024, 256, 64, 0.0, 8_000.0, False, "slaney", "none", 80.0, 1e-10),
    (512, 400, 160, 80, 20.0, 7_600.0, True, None, "reflect", 60.0, 1e-10),
    (2048, 2048, 512, 128, 0.0, 8_000.0, False, "slaney", "zero", 80.0, 1e-5),
]
POWER_TO_DB = [
    # ref (None: the maximum), amin, top_db
    (None, 1e-10, 80.0),
    (1.0, 1e-10, 80.0),
    (1.0, 1e-10, None),
    (2.5, 1e-5, 30.0),
    (1e-12, 1e-6, None),
]
PADDING = {"zero": {"pad_mode": "constant"}, "reflect": {"pad_mode": "reflect"}, "none": {"center": False}}


def real_like_clips(sample_rate: int) -> dict[str, np.ndarray]:
    """Three short sounds like those of a data set: barks, a creaking sweep over hum, rain. float32, 16-bit steps."""
    rng = np.random.default_rng(50)
    t = np.arange(int(1.2 * sample_rate)) / sample_rate

    def bark(at: float, pitch_hz: float) -> np.ndarray:
        since = np.maximum(t - at, 0.0)
        envelope = np.where(t >= at, np.minimum(since / 0.01, 1.0) * np.exp(-since / 0.07), 0.0)
        phase = 2 * np.pi * pitch_hz * (since + 0.6 * since**2)
        voice = sum(np.sin(k * phase) / k for k in range(1, 9))
        return envelope * (voice + 0.5 * rng.standard_normal(t.size))

    barks = bark(0.1, 420.0) + 0.6 * bark(0.62, 390.0) + 2e-4 * rng.standard_normal(t.size)
    sweep = np.sin(2 * np.pi * (200 * t + 1500 * t**2)) * (0.2 + 0.8 * np.sin(2 * np.pi * 9 * t) ** 8)
    creak = sweep + 0.05 * np.sin(2 * np.pi * 50 * t) + 1e-3 * rng.standard_normal(t.size)
    drops = (rng.random(t.size) < 60 / sample_rate) * rng.standard_normal(t.size)
    rain = np.convolve(drops, np.exp(-np.arange(200) / 20) * np.sin(np.arange(200) * 1.1))[: t.size]
    rain += 0.02 * rng.standard_normal(t.size)
    clips = {"barks": barks, "creak": creak, "rain": rain}
    return {
        name: (np.round(0.8 * 32767 * clip / np.abs(clip).max()) / 32768).astype(np.float32)
        for name, clip in clips.items()
    }


def main() -> None:
    for old in HERE.glob("*.npy"):
        old.unlink()

    def save(name: str, array: np.ndarray) -> str:
        np.save(HERE / f"{name}.npy", np.ascontiguousarray(array, dtype=np.float32))
        return f"{name}.npy"

    cases: dict = {
        "versions": {
            "python": platform.python_version(),
            "librosa": librosa.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "soxr": soxr.__version__,
        }
    }
    clips = real_like_clips(16_000)
    cases["clips"] = {name: save(f"clip_{name}", clip) for name, clip in clips.items()}

    cases["mel_filters"] = []
    for i, (sample_rate, n_fft, n_mels, f_min, f_max, htk, norm) in enumerate(MEL_FILTERS):
        filters = librosa.filters.mel(
            sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max, htk=htk, norm=norm
        )
        cases["mel_filters"].append(
            {
                "sample_rate": sample_rate,
                "n_fft": n_fft,
                "n_mels": n_mels,
                "f_min": f_min,
                "f_max": f_max,
                "mel_scale": "htk" if htk else "slaney",
                "mel_norm": norm or "none",
                "empty_filters": np.flatnonzero(filters.max(axis=1) == 0).tolist(),
                "file": save(f"mel_filters_{i}", filters),
            }
        )

    cases["stft"] = []
    for i, (n_fft, win_length, hop_length, padding) in enumerate(STFTS):
        n_samples = 4_000
        spectrum = librosa.stft(
            clips["barks"][1_500 : 1_500 + n_samples],
            n_fft=n_fft,
            win_length=win_length,
            hop_length=hop_length,
            **PADDING[padding],
        )
        cases["stft"].append(
            {
                "clip": "barks",
                "first_sample": 1_500,
                "n_samples": n_samples,
                "n_fft": n_fft,
                "win_length": win_length,
                "hop_length": hop_length,
                "padding": padding,
                "file": save(f"stft_{i}", np.stack([spectrum.real, spectrum.imag], axis=-1)),
            }
        )

    cases["features"] = []
    for i, settings in enumerate(FEATURES):
        n_fft, win_length, hop_length, n_mels, f_min, f_max, htk, norm, padding, top_db, amin = settings
        for clip in clips if i == 0 else ["barks"]:
            mel = librosa.feature.melspectrogram(
                y=clips[clip],
                sr=16_000,
                n_fft=n_fft,
                win_length=win_length,
                hop_length=hop_length,
                n_mels=n_mels,
                fmin=f_min,
                fmax=f_max,
                htk=htk,
                norm=norm,
                **PADDING[padding],
            )
            log_mel_db = librosa.power_to_db(mel, ref=np.max, amin=amin, top_db=top_db)
            cases["features"].append(
                {
                    "clip": clip,
                    "config": {
                        "sample_rate": 16_000,
                        "n_fft": n_fft,
                        "win_length": win_length,
                        "hop_length": hop_length,
                        "n_mels": n_mels,
                        "f_min": f_min,
                        "f_max": f_max,
                        "mel_scale": "htk" if htk else "slaney",
                        "mel_norm": norm or "none",
                        "padding": padding,
                        "top_db": top_db,
                        "amin": amin,
                    },
                    "mel_power": save(f"mel_power_{clip}_{i}", mel),
                    "log_mel_db": save(f"log_mel_db_{clip}_{i}", log_mel_db),
                }
            )
            if i == 0:
                log_mel = log_mel_db.astype(np.float64)
                normalized = (log_mel - log_mel.mean()) / (log_mel.std() + 1e-6)
                cases["features"][-1]["normalized"] = save(f"normalized_{clip}", normalized)

    rng = np.random.default_rng(7)
    power = (10.0 ** rng.uniform(-14, 3, size=400)).astype(np.float32)
    power[:3] = 0.0
    cases["power_to_db"] = {"power": save("power", power), "cases": []}
    for i, (ref, amin, top_db) in enumerate(POWER_TO_DB):
        decibels = librosa.power_to_db(power, ref=np.max if ref is None else ref, amin=amin, top_db=top_db)
        cases["power_to_db"]["cases"].append(
            {"ref": ref, "amin": amin, "top_db": top_db, "file": save(f"power_to_db_{i}", decibels)}
        )

    # Sound below 4 kHz, where soxr_hq itself is flat (at 6.9 kHz it is 0.006 dB down, 7e-4 in amplitude).
    t = np.arange(11_025) / 44_100
    tones = sum(np.sin(2 * np.pi * f * t + f) for f in (110.0, 523.3, 1_234.5, 3_210.0, 3_900.0))
    smooth = (0.15 * tones * np.sin(np.pi * t / t[-1]) ** 2).astype(np.float32)
    resampled = librosa.resample(smooth, orig_sr=44_100, target_sr=16_000)
    cases["resample"] = {
        "from_hz": 44_100,
        "to_hz": 16_000,
        "input": save("resample_input", smooth),
        "soxr_hq": save("resample_soxr_hq", resampled),
    }
    (HERE / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
