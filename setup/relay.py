"""Stands between Jupyter and the Rust kernel: `relay.py FRONT BACK`, two connection files.

evcxr's ZeroMQ (the crate zeromq 0.6.0) can stop for good in the moment in which a client of its shell channel goes away: it waits inside a
task for a lock that another task of the same thread holds (`remove_sync` in `peer_disconnected`). Jupyter's server makes and drops such
a client at every start, and a few starts in a hundred hung there. Here every channel of the kernel has one client, this one, which stays.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import zmq

from start_kernel import CHANNELS, PR_SET_PDEATHSIG, WATCH_S

# A relay that a restarted kernel left is gone in moments; until then its ports are taken.
BIND_S = 10.0


def address(connection: dict, channel: str) -> str:
    """Where a channel is, as ZeroMQ has it."""
    separator = "-" if connection["transport"] == "ipc" else ":"
    return f"{connection['transport']}://{connection['ip']}{separator}{connection[f'{channel}_port']}"


def bind(socket: zmq.Socket, place: str) -> None:
    """Takes a channel's place, once whoever had it is gone."""
    deadline = time.monotonic() + BIND_S
    while True:
        try:
            return socket.bind(place)
        except zmq.ZMQError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def pair(context: zmq.Context, front: dict, back: dict, channel: str, kinds: tuple[int, int]) -> tuple[zmq.Socket, zmq.Socket]:
    """The two sockets of a channel; neither drops a message because the other side is slow."""
    outer, inner = (context.socket(kind) for kind in kinds)
    for socket in (outer, inner):
        socket.sndhwm = socket.rcvhwm = socket.linger = 0
    bind(outer, address(front, channel))
    if kinds[1] == zmq.SUB:
        inner.subscribe(b"")
    inner.connect(address(back, channel))
    return outer, inner


def forward(inner: zmq.Socket, outer: zmq.Socket) -> None:
    """What the kernel publishes, to everyone."""
    while True:
        outer.send_multipart(inner.recv_multipart(copy=False), copy=False)


def main(front_file: str, back_file: str) -> None:
    """Relays until the kernel, which started this, is gone."""
    kernel = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Jupyter interrupts the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    front, back = (json.loads(Path(file).read_text(encoding="utf-8")) for file in (front_file, back_file))
    context = zmq.Context()
    try:
        answering = [channel for channel in CHANNELS if channel != "iopub"]
        works = [(zmq.proxy, pair(context, front, back, channel, (zmq.ROUTER, zmq.DEALER))) for channel in answering]
        outer, inner = pair(context, front, back, "iopub", (zmq.PUB, zmq.SUB))
    except zmq.ZMQError as error:
        # A kernel that nobody can reach would hang without a word; one that ends, Jupyter starts again.
        print(f"the kernel ends: its relay cannot take a port that Jupyter chose: {error}", file=sys.stderr, flush=True)
        os.kill(kernel, signal.SIGKILL)
        os._exit(1)
    works.append((forward, (inner, outer)))
    for work, sockets in works:
        threading.Thread(target=work, args=sockets, daemon=True).start()
    while os.getppid() == kernel:
        time.sleep(WATCH_S)
    Path(back_file).unlink(missing_ok=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
