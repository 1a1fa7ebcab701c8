"""Prepares a deployment of containers: keys, the broker's configuration, the event stream.

    provision.py files ROOT          before the broker starts; again after a service was added
    provision.py stream ROOT URL     once the broker runs

ROOT is the operator's folder of keys. Each service sees only `ROOT/mounts/NAME`, the broker only `ROOT/mounts/nats`.
"""

import os
import shutil
import sys
import time
from pathlib import Path

import anyio

from dominie_contracts.subjects import SERVICES
from dominie_kit.broker import provision
from dominie_kit.broker_config import server_config
from dominie_kit.errors import BrokerFailed
from dominie_kit.keys import KeyFolder

UID = 10001
"""The user of infra/service.Dockerfile."""
EVENTS = Path("/data")
"""Where the broker's container has its volume."""
WAIT_S = 60.0


def files(root: str) -> None:
    """Write each key that is not there yet, and lay out who sees which."""
    keys = KeyFolder(Path(root)).create()
    for name in SERVICES:
        seen = ["public.json", f"services/{name}.json", *(["identity.json"] if name == "identity" else [])]
        for part in seen:
            _show(keys.path / part, keys.path / "mounts" / name / part)
    broker = keys.path / "mounts/nats/nats.conf"
    broker.parent.mkdir(exist_ok=True)
    broker.write_text(server_config(keys.roster(), store=EVENTS, host="0.0.0.0"))


def stream(root: str, url: str) -> None:
    """Create the event stream, or bring its settings up to date, as soon as the broker answers."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return anyio.run(lambda: provision(url, KeyFolder(Path(root))))
        except BrokerFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _show(key: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(key, target)
    if os.geteuid() == 0:
        for path in (target, target.parent):
            os.chown(path, UID, UID)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["files", root]:
            files(root)
        case ["stream", root, url]:
            stream(root, url)
        case _:
            sys.exit(__doc__)
