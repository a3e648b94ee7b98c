"""The peers' side of the front end: `python bench/peers.py librosa|torchaudio|soxr`, jobs in and seconds out by lines.

Every job works through its clips one after another, on one thread, and answers with the mean seconds per clip.
"""
import json
import pathlib
import sys
import time

import numpy as np

SAMPLE_RATE = 16_000
N_FFT = 1024
HOP_LENGTH = 256
N_MELS = 64
TOP_DB = 80.0


def timed(clips: list, work) -> dict:
    """Mean seconds per clip."""
    start = time.perf_counter()
    for clip in clips:
        work(clip)
    return {"seconds": (time.perf_counter() - start) / len(clips)}


def normalize(log_mel: np.ndarray) -> np.ndarray:
    return (log_mel - log_mel.mean()) / (log_mel.std() + 1e-6)


def npy_path(out: str, clip: str) -> pathlib.Path:
    return pathlib.Path(out) / f"{pathlib.Path(clip).stem}.npy"


def librosa_jobs() -> dict:
    import librosa

    def features(clips: list[str], out: str) -> dict:
        def work(clip: str) -> None:
            samples, _ = librosa.load(clip, sr=SAMPLE_RATE)
            mel = librosa.feature.melspectrogram(
                y=samples, sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS
            )
            log_mel = librosa.power_to_db(mel, ref=np.max, top_db=TOP_DB)
            np.save(npy_path(out, clip), normalize(log_mel))

        return timed(clips, work)

    return {"features": features}


def torchaudio_jobs() -> dict:
    import soundfile
    import torch
    import torchaudio

    torch.set_num_threads(1)
    mel_spectrogram = torchaudio.transforms.MelSpectrogram(
        sample_rate=SAMPLE_RATE,
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        n_mels=N_MELS,
        pad_mode="constant",
        norm="slaney",
        mel_scale="slaney",
    )
    to_db = torchaudio.transforms.AmplitudeToDB(top_db=TOP_DB)
    resamplers: dict[int, torchaudio.transforms.Resample] = {}

    def read(clip: str) -> torch.Tensor:
        # torchaudio's own reader has moved to another package; soundfile reads WAV to floats in C.
        samples, rate = soundfile.read(clip, dtype="float32")
        resampler = resamplers.setdefault(rate, torchaudio.transforms.Resample(rate, SAMPLE_RATE))
        return resampler(torch.from_numpy(samples))

    @torch.inference_mode()
    def features(clips: list[str], out: str) -> dict:
        def work(clip: str) -> None:
            log_mel = to_db(mel_spectrogram(read(clip)))
            np.save(npy_path(out, clip), normalize((log_mel - log_mel.max()).numpy()))

        return timed(clips, work)

    @torch.inference_mode()
    def mel(clips: list[str]) -> dict:
        return timed([read(clip) for clip in clips], mel_spectrogram)

    return {"features": features, "mel": mel}


def soxr_jobs() -> dict:
    import soundfile
    import soxr

    def resample(clips: list[str]) -> dict:
        loaded = [soundfile.read(clip, dtype="float32") for clip in clips]
        return timed(loaded, lambda clip: soxr.resample(clip[0], clip[1], SAMPLE_RATE, quality="soxr_hq"))

    return {"resample": resample}


def main() -> None:
    jobs = {"librosa": librosa_jobs, "torchaudio": torchaudio_jobs, "soxr": soxr_jobs}[sys.argv[1]]()
    for line in sys.stdin:
        settings = json.loads(line)
        print(json.dumps(jobs[settings.pop("job")](**settings)), flush=True)


if __name__ == "__main__":
    main()
