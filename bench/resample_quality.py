"""Resampling to 16 kHz measured with stepped tones: ours and soxr_hq (librosa's default) by the same yardstick.

Started by `bench/run.py resample_quality` in the peers' environment, with the command of our worker as arguments.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np
import soxr

TARGET_HZ = 16_000
RATES_HZ = (44_100, 48_000, 22_050, 8_000, 96_000, 11_025)
AMPLITUDE = 0.5
PASSBAND = 0.9  # × the lower Nyquist frequency

Resample = Callable[[np.ndarray, int], np.ndarray]


def db(ratio: float) -> float:
    return 20 * np.log10(max(ratio, 1e-12))


def fit_tone(freq_hz: float, rate_hz: int, resample: Resample) -> tuple[float, float, float, float]:
    """Gain (dB), delay (output samples), all but the tone (dB below it), all that is left (dB): of the middle half."""
    source = AMPLITUDE * np.sin(2 * np.pi * freq_hz * np.arange(rate_hz) / rate_hz + 0.3)
    output = resample(source.astype(np.float32), rate_hz).astype(np.float64)
    middle = np.arange(len(output) // 4, len(output) * 3 // 4)
    omega = 2 * np.pi * freq_hz / TARGET_HZ
    basis = np.stack([np.sin(omega * middle + 0.3), np.cos(omega * middle + 0.3)], axis=1)
    (a, b), *_ = np.linalg.lstsq(basis, output[middle], rcond=None)
    rest = output[middle] - basis @ (a, b)
    level = AMPLITUDE / np.sqrt(2)
    return (
        db(np.hypot(a, b) / AMPLITUDE),
        -np.arctan2(b, a) / omega,
        db(np.sqrt(np.mean(rest**2)) / level),
        db(np.sqrt(np.mean(output[middle] ** 2)) / level),
    )


def measure(rate_hz: int, resample: Resample) -> tuple[float, float, float]:
    """Worst ripple in the passband (dB), worst delay there (samples), worst of all that must vanish (dB)."""
    nyquist_hz = rate_hz / 2
    passband = [fit_tone(f, rate_hz, resample) for f in np.linspace(40, PASSBAND * min(nyquist_hz, 8_000), 60)]
    ripple_db = max(abs(gain) for gain, *_ in passband)
    delay = max(abs(late) for _, late, *_ in passband)
    if rate_hz > TARGET_HZ:
        vanish = [fit_tone(f, rate_hz, resample)[3] for f in np.linspace(8_000, nyquist_hz - 20, 120)]
    else:
        vanish = [fit_tone(f, rate_hz, resample)[2] for f in np.linspace(40, nyquist_hz - 20, 120)]
    return ripple_db, delay, max(vanish + [rest for _, _, rest, _ in passband])


def main() -> None:
    worker = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory() as folder:
        source, result = pathlib.Path(folder, "source.npy"), pathlib.Path(folder, "result.npy")

        def ours(samples: np.ndarray, rate_hz: int) -> np.ndarray:
            np.save(source, samples)
            job = {"job": "resample_npy", "input": str(source), "output": str(result)}
            worker.stdin.write(json.dumps(job | {"from_hz": rate_hz, "to_hz": TARGET_HZ}) + "\n")
            worker.stdin.flush()
            worker.stdout.readline()
            return np.load(result)

        def soxr_hq(samples: np.ndarray, rate_hz: int) -> np.ndarray:
            return soxr.resample(samples, rate_hz, TARGET_HZ, quality="soxr_hq")

        print(f"\nto {TARGET_HZ} Hz, tones of 1 s; passband up to {PASSBAND} × the lower Nyquist frequency")
        print("| from     | ripple, dB: ours | soxr_hq | delay, samples: ours | soxr_hq | aliases, images and noise, dB: ours | soxr_hq |")
        print("|----------|------------------|---------|----------------------|---------|-------------------------------------|---------|")
        for rate_hz in RATES_HZ:
            (ripple, delay, rest), (peer_ripple, peer_delay, peer_rest) = measure(rate_hz, ours), measure(rate_hz, soxr_hq)
            print(
                f"| {rate_hz:5} Hz | {ripple:16.5f} | {peer_ripple:7.5f} | {delay:20.1e} | {peer_delay:7.1e} "
                f"| {rest:35.1f} | {peer_rest:7.1f} |",
                flush=True,
            )
    worker.stdin.close()
    worker.wait()


if __name__ == "__main__":
    main()
