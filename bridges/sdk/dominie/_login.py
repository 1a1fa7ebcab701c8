"""Who is logged in on this machine, at which deployment: one private file for each, in the person's own folder.

It holds the key that an issuer's word made theirs for a while. It is never in a project, where an agent could read it.
"""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dominie._credentials import RIGHTS_S, Credentials
from dominie.keys import KeyPair
from dominie_contracts import Invalid, Unauthenticated
from dominie_contracts.digests import digest_bytes
from dominie_contracts.people import SignedIn


class Login(BaseModel):
    """A person who is logged in."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    """The broker."""
    who: SignedIn
    seed: str

    @property
    def is_over(self) -> bool:
        """Whether the key is taken no more."""
        return time.time() >= self.who.until_s

    def credentials(self, *, rights_s: float = RIGHTS_S) -> Credentials:
        """As whom the person connects.

        Raises:
            Unauthenticated: The login is over.
        """
        if self.is_over:
            raise Unauthenticated(f"the login of {self.who.principal} is over; run `dominie login`")
        return Credentials(
            url=self.url,
            tenant=self.who.tenant,
            principal=self.who.principal,
            keys=KeyPair(self.seed),
            rights_s=rights_s,
            user=self.who.principal,
            auth_time=self.who.auth_time,
        )


def folder() -> Path:
    """Where logins are kept."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "dominie" / "logins"


def find(url: str) -> Login | None:
    """Who is logged in at the deployment with this broker.

    Raises:
        Invalid: Others can read the file, or it is none.
    """
    path = _path(url)
    try:
        with path.open() as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise Invalid(f"others can read {str(path)!r}, which holds your key: chmod 600, or `dominie logout`")
            return Login.model_validate_json(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise Invalid(f"{str(path)!r} cannot be read: `dominie logout`, then log in again") from error


def keep(login: Login) -> Path:
    """Write down who is logged in."""
    path = _path(login.url)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".login-")  # 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(login.model_dump_json())
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
    return path


def forget(url: str) -> bool:
    """Take the file away, and the key with it; whether there was one."""
    try:
        _path(url).unlink()
    except FileNotFoundError:
        return False
    return True


def _path(url: str) -> Path:
    return folder() / f"{digest_bytes(url.encode())[:16]}.json"
