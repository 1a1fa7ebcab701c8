"""`python -m dominie_kit PLAN`: the process behind `dominie up`.

Its name ends in `__main__`, so that the services forked for it do not import it again.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable

from dominie_contracts import Problem
from dominie_kit.errors import KitError
from dominie_kit.house.plan import Plan
from dominie_kit.house.service_process import start_fork_server
from dominie_kit.house.state import NotStarted, Up


def main() -> int:
    """Run the plan that is the first argument; 1 if that was not possible."""
    began_s = time.monotonic()
    plan = Plan.model_validate_json(sys.argv[1])

    def say(line: str) -> None:
        _quietly(lambda: print(f"dominie: {line}", file=sys.stderr, flush=True))

    try:
        _take_in_passphrase()
        start_fork_server(plan.preload)
        from dominie_kit.house.supervisor import Supervisor  # while the fork server imports, too

        asyncio.run(Supervisor(plan, say=say, began_s=began_s).run(lambda up: _report(plan, up)))
    except (KitError, Problem, OSError) as error:
        say(str(error))
        told = NotStarted(why=str(error)).model_dump_json()
        if plan.report:
            _quietly(lambda: print(told, flush=True))
        return 1
    return 0


def _take_in_passphrase() -> None:
    """Before anything is started that would inherit where it is."""
    if "DOMINIE_PASSPHRASE_FILE" in os.environ:
        from dominie.passphrases import take_in

        take_in()


def _report(plan: Plan, up: Up) -> None:
    if plan.report:
        text = up.model_dump_json() + "\n"
    else:
        from rich.console import Console

        from dominie_kit.house.summary import print_summary

        with (console := Console()).capture() as summary:  # its own answer to a closed pipe is to exit
            print_summary(console, plan, up)
        text = summary.get()
    _quietly(lambda: print(text, end="", flush=True))


def _quietly(write: Callable[[], None]) -> None:
    """Nobody may be reading any more; what runs goes on."""
    try:
        write()
    except (OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
