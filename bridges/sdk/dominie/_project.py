"""The local deployment that a program finds: `.dominie/`, upwards from the working folder, as `dominie up` wrote it."""

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dominie._credentials import RIGHTS_S, Credentials
from dominie.keys import KeyPair
from dominie.passphrases import load_key
from dominie_contracts import Invalid, Unavailable
from dominie_contracts.subjects import check_principal, check_tenant

FOLDER, FILE = ".dominie", "client.json"


class _File(BaseModel):
    """`.dominie/client.json`; fields of a later version are not minded."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    nats_url: str
    tenant: str
    developer: str = "u-dev"
    seed_file: str
    gateway_url: str | None = None
    rights_s: float = RIGHTS_S
    keys: str | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """One `.dominie` folder."""

    folder: Path
    url: str
    tenant: str
    developer: str
    seed_file: Path
    gateway_url: str | None
    rights_s: float
    keys: Path | None
    """Where people's keys are, outside the project."""

    @classmethod
    def find(cls, start: Path | None = None) -> "Project":
        """The nearest one upwards.

        Raises:
            Unavailable: There is none.
            Invalid: Its `client.json` cannot be read.
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / FOLDER / FILE).is_file():
                return cls._read(folder / FOLDER)
        raise Unavailable(
            f"no Dominie is set up for {str(start)!r}: run `dominie up` there (or set DOMINIE_URL and so on)"
        )

    @classmethod
    def _read(cls, folder: Path) -> "Project":
        try:
            found = _File.model_validate_json((folder / FILE).read_bytes())
        except (OSError, ValidationError) as error:
            raise Invalid(f"{str(folder / FILE)!r} cannot be read: {error}; `dominie up` writes it anew") from error
        keys = (folder / Path(found.keys).expanduser()) if found.keys else None
        return cls(
            folder=folder,
            url=found.nats_url,
            tenant=check_tenant(found.tenant),
            developer=check_principal(found.developer),
            seed_file=folder / found.seed_file,
            gateway_url=found.gateway_url,
            rights_s=found.rights_s,
            keys=keys,
        )

    def credentials(self, principal: str, keys: KeyPair, *, seed_file: Path | None = None) -> Credentials:
        """A principal's credentials here."""
        return Credentials(
            url=self.url,
            tenant=self.tenant,
            principal=check_principal(principal),
            keys=keys,
            rights_s=self.rights_s,
            user=self.developer,
            seed_file=seed_file,
        )

    def developer_credentials(self) -> Credentials:
        """The developer's own.

        Raises:
            Invalid: Their seed cannot be read.
        """
        return self.credentials(self.developer, load_keys(self.seed_file))

    def agent_credentials(self, principal: str) -> tuple[Credentials, bool]:
        """An agent's or a worker's; its key is made at the first time, of which the second value tells."""
        path = self.seed_path(principal)
        new = not path.exists() and _write_new(path, KeyPair.generate().seed)
        return self.credentials(principal, load_keys(path), seed_file=path), new

    def next_keys(self, principal: str) -> KeyPair:
        """The key that a principal is to have next; the same until `rotated`."""
        path = self._next_path(principal)
        if not path.exists():
            _write_new(path, KeyPair.generate().seed)
        return load_keys(path)

    def rotated(self, principal: str) -> Path:
        """Put the next key in the place of the present one; running programs read it for their next connection."""
        path = self.seed_path(principal)
        os.replace(self._next_path(principal), path)
        return path

    def _next_path(self, principal: str) -> Path:
        return self.seed_path(principal).with_suffix(".next")

    def seed_path(self, principal: str) -> Path:
        """Where its seed is."""
        return self.folder / "agents" / f"{check_principal(principal)}.seed"


def load_keys(path: Path) -> KeyPair:
    """The key pair of a seed file, plain or protected.

    Raises:
        Invalid: There is none, or nothing says its passphrase.
        Unauthenticated: The passphrase is another one.
    """
    try:
        return load_key(path)
    except OSError as error:
        raise Invalid(f"no key can be read from {str(path)!r}: {type(error).__name__}") from error


def _write_new(path: Path, seed: str) -> bool:
    """Write a private file as a whole, unless another process was first; whether it was written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".seed-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(f"{seed}\n")
        os.link(name, path)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            os.unlink(name)
    return True
