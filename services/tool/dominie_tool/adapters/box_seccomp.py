"""A seccomp filter: no system call that leads around the namespaces.

A network namespace does not hold AF_VSOCK (to the hypervisor), netlink, packet, Bluetooth or crypto sockets, so only
three families of sockets are allowed; io_uring could open others behind the filter's back. The rest of the list is
what escapes of containers have used and no tool needs. Numbers: Linux's `syscall.tbl` and `asm-generic/unistd.h`;
the filter's form: `seccomp(2)`. On other machines there is no filter, and the layer is not reported.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEWNS|CGROUP|UTS|IPC|USER|PID|NET|TIME
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    clone: int
    socket: int
    forbidden: tuple[int, ...]
    x32: bool = False


_IO_URING_AND_NEWER_MOUNTS = (*range(425, 434), 442, 447)  # 428..433: open_tree … fspick; the same on every machine
_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        clone=56,
        socket=41,
        forbidden=(
            *(101, 310, 311, 312),  # ptrace process_vm_readv process_vm_writev kcmp
            *(155, 161, 165, 166, 272, 308),  # pivot_root chroot mount umount2 unshare setns
            *(248, 249, 250),  # add_key request_key keyctl
            *(298, 303, 304, 321, 323),  # perf_event_open name_to_handle_at open_by_handle_at bpf userfaultfd
            *_IO_URING_AND_NEWER_MOUNTS,
        ),
        x32=True,
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        clone=220,
        socket=198,
        forbidden=(
            *(117, 270, 271, 272),
            *(41, 51, 40, 39, 97, 268),
            *(217, 218, 219),
            *(241, 264, 265, 280, 282),
            *_IO_URING_AND_NEWER_MOUNTS,
        ),
    ),
}
_CLONE3 = 435


def seccomp_filter(machine: str = platform.machine()) -> bytes | None:
    """The filter as classic BPF, or None for a machine whose numbers are not known."""
    known = _MACHINES.get(machine)
    if known is None:
        return None
    refuse = _ERROR | errno.EPERM
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        *_unless(_EQUAL, known.audit, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        *(_when(_AT_LEAST, 0x40000000, refuse) if known.x32 else ()),
        *(step for number in known.forbidden for step in _when(_EQUAL, number, refuse)),
        *_when(_EQUAL, _CLONE3, _ERROR | errno.ENOSYS),  # its flags are out of reach; libc then takes clone
        (_EQUAL, 0, 3, known.clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *_when(_ANY_BIT, _NEW_NAMESPACES, refuse),
        (_LOAD, 0, 0, _NUMBER),
        *_unless(_EQUAL, known.socket, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *(step for family in _FAMILIES for step in _when(_EQUAL, family, _ALLOW)),
        (_RETURN, 0, 0, refuse),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in program)


def _when(test: int, value: int, verdict: int) -> tuple[tuple[int, int, int, int], ...]:
    return (test, 0, 1, value), (_RETURN, 0, 0, verdict)


def _unless(test: int, value: int, verdict: int) -> tuple[tuple[int, int, int, int], ...]:
    return (test, 1, 0, value), (_RETURN, 0, 0, verdict)
