"""The scripted model as a program of its own.

    python -m dominie_model.adapters.play FILE [--port N]

prints one line of JSON, `{"base_url": …}`, when it is ready, and ends on SIGINT or SIGTERM. `script` tells what FILE
holds; without one, the default script answers anything.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

import anyio

from dominie_model.adapters.script import Script
from dominie_model.adapters.script_errors import BadScript
from dominie_model.adapters.scripted import serve_scripted


async def _serve(script: Script, port: int) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with serve_scripted(script, port=port) as base_url:
            print(json.dumps({"base_url": base_url}), flush=True)
            async for _ in signals:
                return


def main() -> None:
    """Serve a script until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m dominie_model.adapters.play", description=main.__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="the script; without one, the default answers anything")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    options = parser.parse_args()
    try:
        script = Script.load(options.file) if options.file else Script.default()
        anyio.run(_serve, script, options.port)
    except (BadScript, OSError) as fault:
        sys.exit(str(fault))


if __name__ == "__main__":
    main()
