"""What can go wrong around a deployment; each text is one line that says what to do next.

KitError
├── KeyMissing     a key that is needed is not in the key folder
├── KeysUnwritten  the key folder takes no new keys
├── RotationBusy   another process is replacing keys
├── BadStore       the event store's address cannot be used
├── OtherStore     this folder's read models come from another event store
├── BrokerFailed   the broker did not start, or does not answer
├── AlreadyUp      another `dominie up` runs in this folder
├── NotUp          nothing runs in this folder
├── StartFailed    a service did not become ready
├── NotRebuilt     a rebuild failed; the read model before it goes on serving
└── ArchiveFailed  a sealed segment of the log was not archived; it stays where it is
"""

from pathlib import Path


class KitError(Exception):
    """The base of what the kit raises about a deployment."""


class KeyMissing(KitError):
    """A key that is needed is not in the key folder."""

    def __init__(self, path: Path, reason: str = "is not there"):
        super().__init__(f"The key {str(path)!r} {reason}: run `dominie up`, or point DOMINIE_KEYS at the key folder")
        self.path = path


class KeysUnwritten(KitError):
    """The key folder takes no new keys."""

    def __init__(self, folder: Path, why: str):
        super().__init__(f"Nothing can be written in {str(folder)!r} ({why}): the keys there stay as they are")
        self.folder, self.why = folder, why


class RotationBusy(KitError):
    """Another process is replacing keys."""

    def __init__(self, folder: Path):
        super().__init__(f"Keys of {str(folder)!r} are being replaced just now: try again in a moment")
        self.folder = folder


class BadStore(KitError):
    """The event store's address cannot be used."""

    def __init__(self, place: str, why: str):
        super().__init__(f"The event store {place!r} cannot be used: {why}")
        self.place, self.why = place, why


class OtherStore(KitError):
    """What is in this folder was read from another event store, whose positions mean nothing here."""

    def __init__(self, folder: Path, *, has: str, given: str):
        super().__init__(
            f"What is in {str(folder)!r} comes from the event store {has!r}, not from {given!r}: "
            "give that one as --store, or take another folder"
        )
        self.folder, self.has, self.given = folder, has, given


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


class NotRebuilt(KitError):
    """A rebuild failed; the read model before it goes on serving."""

    def __init__(self, service: str, read_model: str, why: str):
        super().__init__(f"{service} goes on with the {read_model!r} that it has, the new one failed: {why}")
        self.service, self.read_model, self.why = service, read_model, why


class ArchiveFailed(KitError):
    """A sealed segment of the log was not archived; it stays where it is."""

    def __init__(self, why: str):
        super().__init__(f"Not archived: {why}")
        self.why = why
