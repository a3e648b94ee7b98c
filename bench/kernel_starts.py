#!/usr/bin/env python3
"""Count how often the kernel does not listen: `python bench/kernel_starts.py [--starts N]`.

Every start goes through a real Jupyter server, over its REST interface and the websocket that JupyterLab opens, half of them on a machine
at rest and half beside as many busy processes as it has cores. A start counts as failed when the kernel has not answered
`kernel_info_request` within the limit.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import time
import uuid
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "setup"))

import kernel  # noqa: E402  (found only after the line above)
import lab  # noqa: E402
from steps import TARGET  # noqa: E402

LIMIT_S = 60.0


async def start_once(address: str, token: str) -> float | None:
    """Seconds from asking for a kernel to its first answer, or None when there was none."""
    # Both come with Jupyter's own server.
    from tornado.httpclient import AsyncHTTPClient, HTTPRequest
    from tornado.websocket import WebSocketClosedError, websocket_connect

    client, headers = AsyncHTTPClient(), {"Authorization": f"token {token}"}
    started = time.monotonic()
    body = json.dumps({"name": kernel.KERNEL, "path": kernel.NOTEBOOK.name})
    answer = await client.fetch(
        f"{address}/api/kernels", method="POST", headers=headers, body=body, request_timeout=LIMIT_S
    )
    identity = json.loads(answer.body)["id"]
    try:
        url = f"{address.replace('http', 'ws', 1)}/api/kernels/{identity}/channels?token={token}"
        socket = await websocket_connect(HTTPRequest(url, headers=headers, request_timeout=LIMIT_S))
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "kernel_info_request", "username": "", "session": uuid.uuid4().hex,
                  "version": "5.3", "date": ""}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": {}, "channel": "shell"}
        with contextlib.suppress(asyncio.TimeoutError, WebSocketClosedError):
            await socket.write_message(json.dumps(message))
            await asyncio.wait_for(answered(socket), LIMIT_S)
            return time.monotonic() - started
        return None
    finally:
        await client.fetch(f"{address}/api/kernels/{identity}", method="DELETE", headers=headers, request_timeout=LIMIT_S)


async def answered(socket) -> None:
    """Waits for the kernel's answer to who it is."""
    while (text := await socket.read_message()) is not None:
        if json.loads(text)["header"]["msg_type"] == "kernel_info_reply":
            return
    raise asyncio.TimeoutError


def spin() -> None:
    """Keeps a core busy."""
    while True:
        pass


@contextlib.contextmanager
def load(n_processes: int) -> Iterator[None]:
    """So many busy processes."""
    processes = [multiprocessing.Process(target=spin, daemon=True) for _ in range(n_processes)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


async def count(address: str, token: str, starts: int) -> list[float | None]:
    """One start after another."""
    found = []
    for number in range(1, starts + 1):
        found.append(await start_once(address, token))
        seconds = found[-1]
        print(f"  start {number}: {'no answer' if seconds is None else f'{seconds:.1f} s'}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=100, help="starts on each of the two loads (100)")
    starts = parser.parse_args().starts
    rows = []
    with lab.served(TARGET / "kernel-starts", {"DATASET": "demo"}) as (address, token):
        for name, n_processes in (("at rest", 0), ("all cores busy", os.cpu_count() or 1)):
            print(f"{name}:", flush=True)
            with load(n_processes):
                found = asyncio.run(count(address, token, starts))
            answered = [seconds for seconds in found if seconds is not None]
            median, worst = (statistics.median(answered), max(answered)) if answered else (float("nan"),) * 2
            rows.append(f"| {name} | {starts} | {starts - len(answered)} | {median:.1f} | {worst:.1f} |")
    print("\n| load | starts | without an answer | median, s | slowest, s |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
