"""What a process of ours says of itself to the kernel (Linux; elsewhere these do nothing)."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Be killed when the thread that made this process ends: nothing that a supervisor started may outlive it."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def call_itself(name: str) -> None:
    """Show a name of at most 15 bytes in `ps` and `top`."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)
