"""The log as a file, from the command line.

    python -m dominie_audit.adapters.offline export FILE     (as the audit service: DOMINIE_NATS_URL, DOMINIE_KEYS)
    python -m dominie_audit.adapters.offline verify FILE

`verify` needs nothing but the file; it prints one JSON object and ends with 1 where the log does not hold.
"""

import sys
from pathlib import Path

import anyio

from dominie_audit.adapters.offline import export, verify_file
from dominie_audit.settings import Settings
from dominie_eventstore import JetStreamEventStore
from dominie_kit.bus import Inner


async def _export(path: Path) -> None:
    settings = Settings()
    inner = Inner("audit", settings)
    await inner.open()
    try:
        await export(JetStreamEventStore(inner.client), path)
    finally:
        await inner.close()


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    match arguments:
        case ["export", file]:
            anyio.run(_export, Path(file))
            return 0
        case ["verify", file]:
            report = verify_file(Path(file))
            sys.stdout.write(report.model_dump_json() + "\n")
            return 0 if report.ok else 1
        case _:
            sys.stderr.write(__doc__ or "")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
