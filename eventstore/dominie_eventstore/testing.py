"""A real nats-server for tests: its own folder, a port that a restart keeps, ended by any signal."""

import json
import select
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Final

START_S: Final = 20.0


class Broker:
    """A nats-server that can be killed and started again on the same port.

    Args:
        folder: For its configuration, its log and, unless `store` says otherwise, its streams.
        extra: Further lines of its configuration.
        sync: When it syncs what it stores.
        store: Where its streams are.
        config: All of its configuration, instead of the above.
    """

    def __init__(
        self, folder: Path, extra: str = "", *, sync: str = "always", store: Path | None = None, config: str = ""
    ) -> None:
        self.folder = folder
        self.store = store or folder / "store"
        self.url = ""
        self._config = folder / "server.conf"
        usual = f'host: "127.0.0.1"\njetstream {{ store_dir: "{self.store}", sync_interval: {sync} }}\n{extra}\n'
        self._config.write_text(config or usual)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it, and do not wait."""
        port = self.url.rpartition(":")[2] or "-1"
        binary = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or "nats-server"
        command = [binary, "-c", str(self._config), "-p", port, "--ports_file_dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self) -> None:
        """Wait until it listens."""
        assert self._process is not None
        ports = self.folder / f"nats-server_{self._process.pid}.ports"
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            if ports.exists() and (text := ports.read_text()):
                self.url = str(json.loads(text)["nats"][0])
                return
            select.select([], [], [], 0.01)
        self.stop()
        raise RuntimeError((self.folder / "log").read_text())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it with nothing said."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def stop(self) -> None:
        """End it in order, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


async def silent(error: Exception) -> None:
    """Take the errors that nats-py reports beside."""
