"""A real nats-server on a free port."""

import json
import signal
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dominie.returning import Returning

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


async def lasting(url: str, **options: Any) -> Returning:
    """A client of a broker, which comes back for ever."""
    client = Returning()
    options |= {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.05}
    await client.connect(url, **options)
    return client
