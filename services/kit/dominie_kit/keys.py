"""The keys of a deployment: one folder outside the project, where an agent started there cannot read them.

    operator.seed            provisions streams, registers people, publishes policies
    services/{name}.json     a service's two connections: {"edge": seed, "inner": seed}
    identity.json            {"signer": …, "callout_issuer": …, "callout_user": …}
    warden.seed              identity's, in the broker's system account: sees who is connected, and kicks
    services/old/…           those that are being replaced
    signers/{nkey}.seed      those that were made later; the log says which is taken
    public.json              {"signer": public nkey}: what every service checks run tokens with
    people/{principal}.seed  people whose keys the operator holds

A file is written once, and over another by a rotation alone, so any number of processes may create the same folder.
A service needs `public.json` and its own file alone (and identity `identity.json` and `warden.seed`).
"""

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from dominie.keys import KeyPair, public_bytes
from dominie_contracts.subjects import SERVICES, check_principal
from dominie_kit.errors import KeyMissing


@dataclass(frozen=True, slots=True)
class ServiceKeys:
    """A service's two connections: the edge answers, the inner one writes and asks."""

    edge: KeyPair
    inner: KeyPair


@dataclass(frozen=True, slots=True)
class IdentityKeys:
    """What identity alone holds."""

    signer: KeyPair
    """Its raw Ed25519 key signs run tokens."""
    callout_issuer: KeyPair
    """An account's key: signs the broker's user tokens."""
    callout_user: KeyPair
    """Connects to the account AUTH, where the broker asks."""


@dataclass(frozen=True, slots=True)
class Roster:
    """Every static identity of a deployment, as public nkeys: all that the broker has to know."""

    operator: str
    callout_issuer: str
    callout_user: str
    warden: str
    services: Mapping[str, tuple[str, str]]
    """A service's edge and inner connection."""
    retiring: tuple[tuple[str, str, str], ...] = ()
    """Services with connections whose place others have taken, and that are not gone yet."""


_Pairs = TypeVar("_Pairs", ServiceKeys, IdentityKeys)


class KeyFolder:
    """Creates and reads the keys of a deployment; each key is read when first asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, project: Path) -> "KeyFolder":
        """The key folder of a project: `$DOMINIE_KEYS`, else one in the user's state folder."""
        if given := os.environ.get("DOMINIE_KEYS"):
            return cls(Path(given).expanduser())
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
        return cls(state / "dominie" / sha256(str(project.resolve()).encode()).hexdigest()[:16])

    def create(self, services: Iterable[str] = SERVICES) -> "KeyFolder":
        """Write each key that is not there yet; 0700 and 0600."""
        for folder in (self.path, self.path / "services", self.path / "people"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        write_once(self.path / "operator.seed", KeyPair.generate().seed)
        for name in services:
            write_once(self._service(name), _seeds("edge", "inner"))
        write_once(self.path / "warden.seed", KeyPair.generate().seed)
        write_once(self.path / "identity.json", _seeds("signer", "callout_issuer", "callout_user"))
        write_once(self.path / "public.json", json.dumps({"signer": self.identity.signer.public}))
        return self

    @cached_property
    def operator(self) -> KeyPair:
        """The operator's key."""
        return _load(self.path / "operator.seed")

    @cached_property
    def identity(self) -> IdentityKeys:
        """What identity alone holds."""
        return _pairs(IdentityKeys, self.path / "identity.json")

    def signer_keys(self, nkey: str) -> KeyPair:
        """The key pair of a signer of run tokens: the first one, or one that was made later."""
        first = self.identity.signer
        return first if first.public == nkey else _load(self._signer(nkey))

    def new_signer(self) -> KeyPair:
        """Make another signer; identity takes it once the operator says so."""
        keys = KeyPair.generate()
        self._signer(keys.public).parent.mkdir(mode=0o700, exist_ok=True)
        write_once(self._signer(keys.public), keys.seed)
        return keys

    def _signer(self, nkey: str) -> Path:
        public_bytes(nkey)
        return self.path / "signers" / f"{nkey}.seed"

    @cached_property
    def warden(self) -> KeyPair:
        """Identity's key in the broker's system account."""
        return _load(self.path / "warden.seed")

    @cached_property
    def signer(self) -> str:
        """The public nkey that run tokens are checked with."""
        path = self.path / "public.json"
        signer = _read(path).get("signer", "")
        try:
            public_bytes(signer)
        except ValueError as error:
            raise KeyMissing(path, "names no signer") from error
        return signer

    def service(self, name: str) -> ServiceKeys:
        """A service's keys."""
        return _pairs(ServiceKeys, self._service(name))

    def person(self, principal: str, *, create: bool = False) -> KeyPair:
        """The key of a person that the operator holds."""
        path = self.path / "people" / f"{check_principal(principal)}.seed"
        if create:
            write_once(path, KeyPair.generate().seed)
        return _load(path)

    def roster(self) -> Roster:
        """Every static identity that has a key here, as public nkeys."""
        services = {path.stem: _public(path) for path in sorted(self.path.glob("services/*.json"))}
        old = sorted(self.path.glob("services/old/*.json"))
        return Roster(
            operator=self.operator.public,
            callout_issuer=self.identity.callout_issuer.public,
            callout_user=self.identity.callout_user.public,
            warden=self.warden.public,
            services=services,
            retiring=tuple((path.stem.partition(".")[0], *_public(path)) for path in old),
        )

    def replace_service(self, name: str) -> None:
        """Make a service new keys; the old ones are kept beside them until `retire`."""
        path = self._service(name)
        old = self.path / "services" / "old" / f"{name}.{secrets.token_hex(6)}.json"  # an earlier try may have ended
        old.parent.mkdir(mode=0o700, exist_ok=True)
        os.link(path, old)
        _replace(path, _seeds("edge", "inner"))

    def retire(self, names: Iterable[str]) -> None:
        """Take services' old keys away."""
        for name in names:
            for path in self.path.glob(f"services/old/{name}.*.json"):
                path.unlink(missing_ok=True)

    def replace_callout_issuer(self) -> None:
        """Make the callout a new issuer; the broker takes one at a time."""
        path = self.path / "identity.json"
        _replace(path, json.dumps({**_read(path), **json.loads(_seeds("callout_issuer"))}))

    def _service(self, name: str) -> Path:
        return self.path / "services" / f"{name}.json"


def write_once(path: Path, text: str) -> None:
    """Write a file that others cannot read, whole, unless there is one already."""
    draft = _draft(path, text)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _replace(path: Path, text: str) -> None:
    """Write a file that others cannot read, whole, over the one that is there."""
    os.replace(_draft(path, text), path)


def _draft(path: Path, text: str) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return draft


def _public(path: Path) -> tuple[str, str]:
    keys = _pairs(ServiceKeys, path)
    return keys.edge.public, keys.inner.public


def _seeds(*names: str) -> str:
    return json.dumps({name: KeyPair.generate(account=name == "callout_issuer").seed for name in names})


def _pairs(kind: type[_Pairs], path: Path) -> _Pairs:
    found = _read(path)
    try:
        return kind(**{field.name: KeyPair(found[field.name]) for field in fields(kind)})
    except Exception as error:  # nkeys raises several kinds
        raise KeyMissing(path, f"is no {kind.__name__}") from error


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise KeyMissing(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise KeyMissing(path, "is no JSON") from error
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _load(path: Path) -> KeyPair:
    try:
        return KeyPair.load(path)
    except OSError as error:
        raise KeyMissing(path, f"cannot be read ({error.strerror})") from error
    except Exception as error:  # nkeys raises several kinds
        raise KeyMissing(path, "is no seed") from error
