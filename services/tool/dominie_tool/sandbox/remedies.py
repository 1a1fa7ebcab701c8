"""What to do about a layer that a machine lacks."""

from __future__ import annotations

from pathlib import Path

_SWITCHES = {
    "kernel/apparmor_restrict_unprivileged_userns": ("1", "0"),
    "kernel/unprivileged_userns_clone": ("0", "1"),
    "user/max_user_namespaces": ("0", "10000"),
}
"""Settings of the kernel that forbid user namespaces: their value that does, and one that does not."""
CGROUP = (
    "no cgroup with memory and pids is writable, so a tool gets one process; start it as "
    "`systemd-run --user --scope -p Delegate=yes dominie up`, or as root, or in a container with a writable "
    "/sys/fs/cgroup"
)
RUNSC = (
    "install gVisor's runsc (gvisor.dev, or `CGO_ENABLED=0 go install gvisor.dev/gvisor/runsc@latest`), and name it in "
    "DOMINIE_TOOL_RUNSC if it is not on PATH"
)


def for_namespaces(settings: Path = Path("/proc/sys")) -> str:
    """How to have user namespaces, which a box needs."""
    for name, (forbids, allows) in _SWITCHES.items():
        file = settings / name
        if file.exists() and file.read_text().strip() == forbids:
            return f"user namespaces are forbidden: sysctl -w {name.replace('/', '.')}={allows}"
    return "a box needs user namespaces, in a container `--security-opt seccomp=unconfined`"
