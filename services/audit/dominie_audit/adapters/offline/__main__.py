"""The log as a file, from the command line.

    python -m dominie_audit.adapters.offline export FILE     (as the audit service: DOMINIE_NATS_URL, _KEYS, _STORE)
    python -m dominie_audit.adapters.offline verify FILE [TLOG VKEY]

`verify` needs nothing but the file, and checks the streams' hash chains, which do not protect the last event of each.
With TLOG, a copy of audit's folder `tlog` that is older than the file, and VKEY, the log's verifier key, it checks the
events against the checkpoint there too. It prints one JSON object and ends with 1 where the log does not hold.
"""

import sys
from pathlib import Path

import anyio

from dominie.notes import BadProof, ProofProblem, VerifierKey
from dominie_audit.adapters.offline import export, verify_file
from dominie_audit.adapters.tlog.published import Published
from dominie_audit.settings import Settings
from dominie_kit.bus import Inner
from dominie_kit.store import open_store


async def _export(path: Path) -> None:
    settings = Settings()
    inner = Inner("audit", settings)
    await inner.open()
    try:
        store, opened = open_store(settings.store, inner.client, replicas=settings.replicas)
        async with opened:
            await export(store, path)
    finally:
        await inner.close()


def _verify(path: Path, published: Published | None = None) -> int:
    if published is not None and published.tiles.note() is None:
        raise BadProof(f"there is no checkpoint in {str(published.tiles.folder)!r}")
    report = verify_file(path, published)
    sys.stdout.write(report.model_dump_json() + "\n")
    return 0 if report.ok else 1


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    match arguments:
        case ["export", file]:
            anyio.run(_export, Path(file))
            return 0
        case ["verify", file]:
            return _verify(Path(file))
        case ["verify", file, tlog, key]:
            try:
                published = Published(Path(tlog), VerifierKey.parse(key))
                return _verify(Path(file), published)
            except ProofProblem as error:
                sys.stderr.write(f"{error.title}: {error.detail}\n")
                return 2
        case _:
            sys.stderr.write(__doc__ or "")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
