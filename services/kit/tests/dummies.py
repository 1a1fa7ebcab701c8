"""A service that serves nothing: what the tests of the supervisor run. It stands for `dominie_kit.runner`.

`DUMMIES` says how each behaves, as JSON: {"tool": "deaf"}; or not at all otherwise.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from dominie_kit.errors import KitError


def main(names: Sequence[str], *, on_ready: Callable[[], None]) -> None:
    """Behave as told, until SIGTERM."""
    (name,) = names
    manner = json.loads(os.environ.get("DUMMIES", "{}")).get(name)
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN if manner == "deaf" else lambda *_: told.set())
    if manner == "broken":
        raise KitError("this one cannot start")
    if manner == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("child", child.pid, flush=True)
    print(json.dumps({key: value for key, value in os.environ.items() if key.startswith("DOMINIE_")}), flush=True)
    on_ready()
    told.wait()
    host, _, port = os.environ["DOMINIE_NATS_URL"].removeprefix("nats://").partition(":")
    with socket.create_connection((host, int(port)), 2.0):
        print("the broker outlived me", flush=True)
