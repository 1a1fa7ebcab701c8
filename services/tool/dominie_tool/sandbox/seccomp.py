"""A seccomp filter: which system calls there are in a box. A list of those allowed; every other one is refused.

What is not here leads around the namespaces, or lets a tool hold memory that no limit counts: io_uring, ptrace, mounts,
namespaces, keys, BPF, shared memory of System V, `memfd_create`. Of sockets there are Unix ones alone (and IP's, for a
box whose loopback is a way out): no network namespace holds AF_VSOCK (to the hypervisor), netlink, packet or crypto
sockets. A name that the machine's table does not know is no box: what a list leaves out in silence, nobody misses. The
filter's form: `seccomp(2)`.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from dominie_tool.sandbox.syscalls import SYSCALLS
from dominie_tool.sandbox.values import SandboxUnavailable

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24  # offsets in struct seccomp_data
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_REFUSE, _UNKNOWN = _ERROR | errno.EPERM, _ERROR | errno.ENOSYS
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEWNS|CGROUP|UTS|IPC|USER|PID|NET|TIME
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
Step = tuple[int, int, int, int]

ALLOWED = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range openat openat2
fstat newfstatat statx statfs fstatfs faccessat faccessat2 getdents64 readlinkat getcwd chdir fchdir renameat renameat2
mkdirat unlinkat linkat symlinkat fchmod fchmodat utimensat truncate ftruncate fallocate fadvise64 readahead
fsync fdatasync sync_file_range sendfile copy_file_range splice tee flock fcntl dup dup3 umask
getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr
mmap mprotect munmap mremap madvise brk msync mincore membarrier
execve exit exit_group wait4 waitid kill tkill tgkill pidfd_open pidfd_send_signal restart_syscall
getpid getppid gettid getpgid setpgid getsid setsid getuid geteuid getgid getegid getgroups getresuid getresgid
set_tid_address set_robust_list get_robust_list futex futex_waitv rseq getcpu capget prctl
sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
getpriority setpriority prlimit64 getrlimit setrlimit getrusage times sysinfo uname getrandom
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack signalfd4
nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday getitimer setitimer
timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime
ppoll pselect6 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 eventfd2 pipe2
connect bind listen accept accept4 getsockname getpeername sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown
setsockopt getsockopt
""".split()
"""Whatever their arguments are, on every machine."""
OLDER = {
    "x86_64": """
    open creat stat lstat access pipe select poll dup2 getdents readlink rename mkdir rmdir unlink link symlink chmod
    utime utimes futimesat fork vfork getpgrp pause alarm time arch_prctl epoll_create epoll_wait eventfd signalfd
    """.split(),
    "aarch64": [],
}
"""What a machine has beside those."""


@dataclass(frozen=True, slots=True)
class _If:
    """A call that is allowed by one of its arguments."""

    name: str
    offset: int
    allowed: tuple[int, ...] = ()
    forbidden_bits: int = 0
    otherwise: int = _REFUSE

    def oci(self) -> Iterator[dict[str, object]]:
        """The same for gVisor: one rule for each value."""
        index = (self.offset - _FIRST_ARGUMENT) // 8
        if self.forbidden_bits:
            masked = {"index": index, "value": self.forbidden_bits, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
            yield {"names": [self.name], "action": "SCMP_ACT_ALLOW", "args": [masked]}
        for value in self.allowed:
            equal = {"index": index, "value": value, "op": "SCMP_CMP_EQ"}
            yield {"names": [self.name], "action": "SCMP_ACT_ALLOW", "args": [equal]}

    def steps(self) -> Iterator[Step]:
        yield (_LOAD, 0, 0, self.offset)
        if self.forbidden_bits:
            yield from _when(_ANY_BIT, self.forbidden_bits, self.otherwise)
            yield (_RETURN, 0, 0, _ALLOW)
            return
        for value in self.allowed:
            yield from _when(_EQUAL, value, _ALLOW)
        yield (_RETURN, 0, 0, self.otherwise)


_SOCKETS = _If("socket", _FIRST_ARGUMENT, (socket.AF_UNIX,))
_SOCKETS_AND_LOOPBACK = _If("socket", _FIRST_ARGUMENT, (socket.AF_UNIX, socket.AF_INET))
_BY_ARGUMENT = (
    _If("clone", _FIRST_ARGUMENT, forbidden_bits=_NEW_NAMESPACES),
    _If("socketpair", _FIRST_ARGUMENT, (socket.AF_UNIX,)),
    _If("ioctl", _SECOND_ARGUMENT, _IOCTLS, otherwise=_ERROR | errno.ENOTTY),
)


@cache
def seccomp_filter(machine: str = platform.machine(), *, loopback: bool = False) -> bytes:
    """The filter as classic BPF; with `loopback`, a tool may speak IP, for which its box has that alone.

    Raises:
        SandboxUnavailable: For this machine there is none.
    """
    if machine not in SYSCALLS:
        raise SandboxUnavailable(f"the numbers of system calls are not known for {machine!r}; use a worker tool")
    sockets = _SOCKETS_AND_LOOPBACK if loopback else _SOCKETS
    return assemble(machine, [*ALLOWED, *OLDER[machine]], SYSCALLS[machine], sockets)


def oci_filter(machine: str = platform.machine()) -> dict[str, object]:
    """The same list for gVisor's kernel. A name that it does not know is not allowed, and a call that is not fails.

    Raises:
        SandboxUnavailable: For this machine there is none.
    """
    seccomp_filter(machine)
    always = {"names": [*ALLOWED, *OLDER[machine]], "action": "SCMP_ACT_ALLOW"}
    unknown = {"names": ["clone3"], "action": "SCMP_ACT_TRACE"}  # which nobody does: ENOSYS, and libc takes clone
    by_argument = [rule for each in (_SOCKETS, *_BY_ARGUMENT) for rule in each.oci()]
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [always, unknown, *by_argument]}


def assemble(machine: str, allowed: Iterable[str], known: Mapping[str, int], sockets: _If = _SOCKETS) -> bytes:
    """A filter that allows these calls.

    Raises:
        SandboxUnavailable: One of them is not known.
    """
    by_argument = (sockets, *_BY_ARGUMENT)
    names = [*allowed, *(each.name for each in by_argument)]
    if unresolved := [name for name in names if name not in known]:
        raise SandboxUnavailable(f"no system call of {machine!r} has the name {unresolved[0]!r}; report this")
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        *_unless(_EQUAL, _AUDIT[machine], _KILL),
        (_LOAD, 0, 0, _NUMBER),
        *_when(_AT_LEAST, _X32, _REFUSE),
        *_when(_AT_LEAST, max(known.values()) + 1, _UNKNOWN),  # newer than the table: libc then takes an older one
        *_when(_EQUAL, known["clone3"], _UNKNOWN),  # its flags are out of reach; libc then takes clone
        *(step for each in by_argument for step in _only(known[each.name], list(each.steps()))),
        *(step for first, last in _runs(known[name] for name in allowed) for step in _between(first, last)),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in program)


def _runs(found: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Numbers in order, as the first and last of each unbroken run."""
    for _, run in groupby(enumerate(sorted(set(found))), key=lambda each: each[1] - each[0]):
        one = [number for _, number in run]
        yield one[0], one[-1]


def _between(first: int, last: int) -> tuple[Step, ...]:
    """Numbers come in order, so one below a run that is not above it is in none."""
    return (_AT_LEAST, 3, 0, last + 1), (_AT_LEAST, 0, 1, first), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)


def _only(number: int, steps: list[Step]) -> tuple[Step, ...]:
    return ((_EQUAL, 0, len(steps), number), *steps)


def _when(test: int, value: int, verdict: int) -> tuple[Step, ...]:
    return (test, 0, 1, value), (_RETURN, 0, 0, verdict)


def _unless(test: int, value: int, verdict: int) -> tuple[Step, ...]:
    return (test, 1, 0, value), (_RETURN, 0, 0, verdict)
