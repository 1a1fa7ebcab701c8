"""The process in which one check looks at texts, in bounded time and memory: it imports what it needs alone."""

import json
import os
import resource
import signal
import sys
from importlib.metadata import EntryPoint


def main() -> None:
    """Read `[cpu_s, memory, path, [name, value, group], texts]`; write what was found in each text."""
    cpu_s, memory, path, named, texts = json.load(sys.stdin)
    sys.path[:] = path
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a plug-in prints is no answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    from dominie_kit.checks.installed import load

    check = load(EntryPoint(*named))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)  # its signal ends the process, in a regular expression too
    found = [sorted({*check.look(text)}) for text in texts]
    signal.setitimer(signal.ITIMER_PROF, 0)
    with os.fdopen(answer, "w") as out:
        json.dump(found, out)


if __name__ == "__main__":
    main()
