"""What can go wrong around a deployment; each text is one line that says what to do next.

KitError
├── KeyMissing     a key that is needed is not in the key folder
├── BrokerFailed   the broker did not start, or does not answer
├── AlreadyUp      another `dominie up` runs in this folder
├── NotUp          nothing runs in this folder
└── StartFailed    a service did not become ready
"""

from pathlib import Path


class KitError(Exception):
    """The base of what the kit raises about a deployment."""


class KeyMissing(KitError):
    """A key that is needed is not in the key folder."""

    def __init__(self, path: Path, reason: str = "is not there"):
        super().__init__(f"The key {str(path)!r} {reason}: run `dominie up`, or point DOMINIE_KEYS at the key folder")
        self.path = path


class BrokerFailed(KitError):
    """The broker did not start, or does not answer."""


class AlreadyUp(KitError):
    """Another `dominie up` runs in this folder."""

    def __init__(self, folder: Path, pid: int):
        super().__init__(f"Dominie already runs in {str(folder)!r} (process {pid}): `dominie down` stops it")
        self.folder, self.pid = folder, pid


class NotUp(KitError):
    """Nothing runs in this folder."""

    def __init__(self, folder: Path):
        super().__init__(f"Dominie does not run in {str(folder)!r}: `dominie up` starts it")
        self.folder = folder


class StartFailed(KitError):
    """A service did not become ready."""
