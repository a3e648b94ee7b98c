"""What the browser's microphone hears, and whether a take holds just that.

The sound is made of bursts of a sawtooth, so that a take that begins anywhere in it can be told from one that lost or bent
something: how long they are, how far apart, how loud. The released network is as sure of its name wherever a take begins
(0.98 or more at twenty places); of a plain tone it thought two classes alike, and a millisecond chose between them.
"""

from __future__ import annotations

import array
import math
import wave
from pathlib import Path

from cells import Failed

RATE = 48_000
PERIOD_S = 2.0
BURST_S = 0.5
LENGTH_S = 10.0
PEAK = 0.25
PITCH_HZ = 440.0
# Of a sawtooth.
ROOT_MEAN_SQUARE = PEAK / math.sqrt(3)
# Bounds of a take beside the sound: seconds, and dB.
TIME_S = 0.03
LEVEL_DB = 1.0
# The pieces that levels are taken over.
PIECE_S = 0.005


def write_sound(file: Path, start_s: float = 0.0, length_s: float = LENGTH_S) -> None:
    """The bursts as a WAV from a moment on, which the browser plays over and over in place of a microphone."""
    samples = array.array("h")
    first = round(start_s * RATE)
    for n in range(first, first + round(length_s * RATE)):
        on = n / RATE % PERIOD_S >= PERIOD_S - BURST_S
        samples.append(round(32_767 * PEAK * (2 * (PITCH_HZ * n / RATE % 1) - 1)) if on else 0)
    with wave.open(str(file), "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE)
        written.writeframes(samples.tobytes())


def check_take(file: Path, seconds: float) -> float:
    """A take of so many seconds holds whole bursts as they were played; the moment in the sound that it begins with."""
    with wave.open(str(file), "rb") as read:
        rate, n_frames = read.getframerate(), read.getnframes()
        kind = (read.getnchannels(), read.getsampwidth())
        samples = array.array("h", read.readframes(n_frames))
    if kind != (1, 2) or abs(n_frames / rate - seconds) > TIME_S:
        raise Failed(f"expected {seconds} s of 16-bit mono, found {n_frames / rate:.2f} s of {kind} in {file}")
    piece = int(PIECE_S * rate)
    levels = [level_of(samples[at : at + piece]) for at in range(0, len(samples) - piece, piece)]
    bursts = whole_bursts([level > PEAK / 4 for level in levels])
    if len(bursts) < 2:
        raise Failed(f"expected two whole bursts or more in {file}, found {len(bursts)}")
    for first, last in bursts:
        length_s = (last - first) * PIECE_S
        if abs(length_s - BURST_S) > TIME_S:
            raise Failed(f"expected bursts of {BURST_S} s, found {length_s:.3f} s in {file}")
        # Without the edges.
        middle = samples[(first + 2) * piece : (last - 2) * piece]
        off_db = 20 * math.log10(level_of(middle) / ROOT_MEAN_SQUARE)
        if abs(off_db) > LEVEL_DB:
            raise Failed(f"expected the level that was played, found {off_db:+.1f} dB in {file}")
    for (first, _), (later, _) in zip(bursts, bursts[1:]):
        apart_s = (later - first) * PIECE_S
        if abs(apart_s - PERIOD_S) > TIME_S:
            raise Failed(f"expected bursts {PERIOD_S} s apart, found {apart_s:.3f} s in {file}")
    return (PERIOD_S - BURST_S - bursts[0][0] * PIECE_S) % PERIOD_S


def level_of(samples: array.array[int]) -> float:
    """Root mean square, 1 for full scale."""
    return math.sqrt(sum(sample * sample for sample in samples) / max(1, len(samples))) / 32_768


def whole_bursts(loud: list[bool]) -> list[tuple[int, int]]:
    """First piece and the one behind the last of every burst that begins and ends within."""
    edges = [at for at in range(1, len(loud)) if loud[at] != loud[at - 1]]
    if loud and loud[0]:
        edges = edges[1:]
    return list(zip(edges[::2], edges[1::2]))
