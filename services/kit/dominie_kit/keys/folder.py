"""The keys of a deployment: one folder outside the project, where an agent started there cannot read them.

    operator.seed            provisions streams, registers people, publishes policies
    services/{name}.json     a service's two connections: {"edge": seed, "inner": seed}
    identity.json            {"signer": …, "callout_issuer": …, "callout_user": …}
    warden.seed              identity's, in the broker's system account: sees who is connected, and kicks
    rotation.json rotation/  keys that take the place of others just now (see replacing.py)
    signers/{nkey}.seed      those that were made later; the log says which is taken
    public.json              {"signer": public nkey}: what every service checks run tokens with
    people/{principal}.seed  people whose keys the operator holds

A file is written once, and over another by a rotation alone, so any number of processes may create the same folder.
The operator's key and people's may be protected by a passphrase (`dominie keys protect`); services read the others.
A service needs `public.json` and its own file alone (and identity `identity.json` and `warden.seed`).
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from dominie.keys import KeyPair, public_bytes
from dominie.passphrases import load_key
from dominie.protected import Protected, read_key_file
from dominie_contracts import Invalid
from dominie_contracts.keys import Replacement
from dominie_contracts.subjects import SERVICES, check_principal
from dominie_kit.errors import KeyMissing
from dominie_kit.keys.files import write_once


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
    retiring: tuple[Replacement, ...] = ()
    """Those whose place others take, and that are not gone yet."""


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
        write_once(self.operator_file, KeyPair.generate().seed)
        for name in services:
            write_once(self.service_file(name), seeds("edge", "inner"))
        write_once(self.path / "warden.seed", KeyPair.generate().seed)
        write_once(self.path / "identity.json", seeds("signer", "callout_issuer", "callout_user"))
        write_once(self.path / "public.json", json.dumps({"signer": self.identity.signer.public}))
        return self

    @property
    def operator(self) -> KeyPair:
        """The operator's key, as it is now: what runs for long sees it replaced."""
        return _load(self.operator_file)

    @property
    def operator_file(self) -> Path:
        """Where the operator's key is, which a passphrase may protect."""
        return self.path / "operator.seed"

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
        return _pairs(ServiceKeys, self.service_file(name))

    def person(self, principal: str) -> KeyPair:
        """The key of a person that the operator holds."""
        return _load(self.person_file(principal))

    def person_file(self, principal: str) -> Path:
        """Where the key of a person is."""
        return self.path / "people" / f"{check_principal(principal)}.seed"

    def person_nkey(self, principal: str) -> str:
        """The public key of a person, whose key is made where there is none yet."""
        path = self.person_file(principal)
        if not path.exists():
            write_once(path, KeyPair.generate().seed)
        return _key_file(path).public

    def roster(self, retiring: tuple[Replacement, ...] = ()) -> Roster:
        """Every static identity that has a key here, as public nkeys; and those that are being replaced."""
        services = {path.stem: _public(path) for path in sorted(self.path.glob("services/*.json"))}
        return Roster(
            operator=_key_file(self.operator_file).public,
            callout_issuer=self.identity.callout_issuer.public,
            callout_user=self.identity.callout_user.public,
            warden=self.warden.public,
            services=services,
            retiring=retiring,
        )

    def service_file(self, name: str) -> Path:
        """Where a service's keys are."""
        return self.path / "services" / f"{name}.json"


def _public(path: Path) -> tuple[str, str]:
    keys = _pairs(ServiceKeys, path)
    return keys.edge.public, keys.inner.public


def seeds(*names: str) -> str:
    """New key pairs by these names, as a file holds them."""
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
    found = _key_file(path)
    return found if isinstance(found, KeyPair) else load_key(path)


def _key_file(path: Path) -> KeyPair | Protected:
    try:
        return read_key_file(path)
    except OSError as error:
        raise KeyMissing(path, f"cannot be read ({error.strerror})") from error
    except Invalid as error:
        raise KeyMissing(path, "is no seed") from error
