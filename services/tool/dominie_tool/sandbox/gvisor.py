"""The box as gVisor is told of it: an OCI configuration for `runsc` (opencontainers.org, runtime-spec 1.0).

gVisor's kernel runs inside of bubblewrap's namespaces, as what is root there and nobody on the host: who breaks out of
it stands where a tool of the other back end stands. In its kernel the same list of system calls holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from dominie_tool.sandbox.seccomp import oci_filter
from dominie_tool.sandbox.values import NOBODY, Host, Limits

BOX = "/box"
ROOT = f"{BOX}/root"
RESULT = 3
"""The descriptor, inside, on which the program answers."""
PROGRAM = "/run/inside.py"
ENVIRONMENT = {"PATH": "/usr/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}
_FLAGS = (
    "--platform=systrap",
    "--network=none",
    "--ignore-cgroups",  # the whole of it is in one
    "--overlay2=none",
    "--oci-seccomp",
    "--host-settings=ignore",
)


def configuration(host: Host, limits: Limits) -> bytes:
    """The box's `config.json`."""
    said: dict[str, object] = {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": NOBODY, "gid": NOBODY},
            "args": [host.python, "-I", "-S", "-B", PROGRAM, str(RESULT)],
            "env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
            "cwd": "/tmp",
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": ROOT, "readonly": True},
        "hostname": "box",
        "mounts": list(_mounts(limits)),
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "seccomp": oci_filter(),
        },
    }
    return json.dumps(said).encode()


def _mounts(limits: Limits) -> Iterator[dict[str, object]]:
    """What it has beside the root, where Python and its libraries are; nothing to tune its kernel by."""
    yield {"destination": "/proc", "type": "proc", "source": "proc"}
    for folder in ("/sys", "/dev/net", "/dev/shm"):
        yield {"destination": folder, "type": "tmpfs", "source": "tmpfs", "options": ["ro", "mode=755"]}
    size = f"size={limits.scratch_mb << 20}"
    yield {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [size, "mode=1777"]}


def start(runsc: str, result: int) -> list[str]:
    """The command that starts it, in bubblewrap."""
    return [runsc, f"--root={BOX}/state", *_FLAGS, "run", f"--bundle={BOX}", f"--pass-fd={result}:{RESULT}", "box"]
