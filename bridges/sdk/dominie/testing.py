"""For tests without the services: a real broker on a free port, and a tiny house that speaks their protocol."""

import json
import signal
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from dominie_contracts import Command, CommandSubject, Invalid, Message, Problem, headers
from dominie_contracts.identity import MintRunToken, RunToken
from dominie_contracts.registry import COMMANDS

SERVER = Path(sysconfig.get_path("scripts")) / "nats-server"


@dataclass
class Broker:
    """One nats-server; killed and started again, it keeps its port."""

    folder: Path
    config: str = ""
    port: int = -1
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        for old in self.folder.glob("*.ports"):
            old.unlink()
        (self.folder / "nats.conf").write_text(self.config)
        options = ["-a", "127.0.0.1", "-p", str(self.port), "-c", str(self.folder / "nats.conf")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [SERVER, *options, "--ports_file_dir", str(self.folder)], stdout=log, stderr=log
            )
        self.port = int(self._ports()["nats"][0].rpartition(":")[2])

    def _ports(self) -> dict[str, list[str]]:
        assert self.process is not None
        until_s = time.monotonic() + 10
        while time.monotonic() < until_s and self.process.poll() is None:
            for path in self.folder.glob("*.ports"):
                try:
                    found: dict[str, list[str]] = json.loads(path.read_text())
                except ValueError:
                    continue
                return found
            time.sleep(0.005)
        raise AssertionError((self.folder / "log").read_text())

    def reload(self) -> None:
        assert self.process is not None
        (self.folder / "nats.conf").write_text(self.config)
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None


@dataclass(frozen=True)
class Asked:
    """One command as the house got it."""

    subject: CommandSubject
    command: Any
    headers: dict[str, str]

    @property
    def key(self) -> str:
        return self.headers[headers.KEY]


Handler = Callable[[Any, Asked], Message | Awaitable[Message | None] | None]


@dataclass
class House:
    """Answers commands by its handlers, the same answer for the same key."""

    nats: Nats
    handlers: dict[type[Command], Handler] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    position: int = 0

    def on(self, command: type[Command], handler: Handler) -> None:
        self.handlers[command] = handler

    def commands(self, kind: type[Command]) -> list[Asked]:
        return [asked for asked in self.asked if isinstance(asked.command, kind)]

    async def take(self, message: Msg) -> None:
        subject = CommandSubject.parse(message.subject)
        kind = COMMANDS[f"{subject.service}.{subject.command}"]
        asked = Asked(subject, kind.model_validate_json(message.data), dict(message.headers or {}))
        self.asked.append(asked)
        if kind not in self.handlers:
            await message.respond(b"")
            return
        try:
            reply = self.handlers[kind](asked.command, asked)
            if isinstance(reply, Awaitable):
                reply = await reply
        except Problem as problem:
            body = problem.details.model_dump_json().encode()
            await self.nats.publish(message.reply, body, headers={headers.PROBLEM: problem.type})
            return
        if reply is not None:
            self.position += 1
            found = {headers.POSITION: str(self.position)}
            await self.nats.publish(message.reply, reply.model_dump_json().encode(), headers=found)


def _mint(command: MintRunToken, asked: Asked) -> RunToken:
    if command.user == "u-nobody":
        raise Invalid("nobody is nobody")
    return RunToken(token=f"token-of-{command.run}", expires_s=int(time.time()) + 300, run=command.run)


@asynccontextmanager
async def keeping_house(url: str) -> AsyncIterator[House]:
    """A house at a broker; it mints run tokens, and answers what else a test tells it to."""
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.05)
    found = House(client, {MintRunToken: _mint})
    try:
        await client.subscribe("cmd.>", cb=found.take)
        await client.flush()
        yield found
    finally:
        await client.close()
