"""Prepares a deployment of containers: `prepare.py ROOT [NODE…]` before the broker starts, again with a new service.

ROOT is the operator's folder of keys. Each service is shown `ROOT/mounts/NAME` alone, the broker `ROOT/mounts/nats`;
of a cluster, whose nodes are named, each one `ROOT/mounts/NODE`.
"""

import os
import shutil
import sys
from pathlib import Path

from dominie_contracts.subjects import SERVICES
from dominie_kit.house.broker_config import server_config
from dominie_kit.keys.folder import KeyFolder

UID = 10001
"""The user of infra/service.Dockerfile."""
EVENTS = Path("/data")
"""Where the broker's container has its volume."""
ROUTES = 6222
"""Where the nodes of a cluster find each other."""


def main(root: str, *nodes: str) -> None:
    """Write each key that is not there yet, and lay out who sees which."""
    keys = KeyFolder(Path(root)).create()
    for name in SERVICES:
        own = ("identity.json", "warden.seed") if name == "identity" else ()
        seen = ("public.json", f"services/{name}.json", *own)
        for part in seen:
            _show(keys.path / part, keys.path / "mounts" / name / part)
    routes = ", ".join(f'"nats://{node}:{ROUTES}"' for node in nodes)
    for node in nodes or ("nats",):
        cluster = f'cluster {{ name: dominie, listen: "0.0.0.0:{ROUTES}", routes: [{routes}] }}'
        broker = keys.path / "mounts" / node / "nats.conf"
        broker.parent.mkdir(exist_ok=True)
        extra = (cluster,) if nodes else ()
        name = node if nodes else "dominie"
        broker.write_text(server_config(keys.roster(), store=EVENTS, host="0.0.0.0", name=name, extra=extra))


def _show(key: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(key, target)
    if os.geteuid() == 0:
        for path in (target, target.parent):
            os.chown(path, UID, UID)


if __name__ == "__main__":
    main(*sys.argv[1:])
