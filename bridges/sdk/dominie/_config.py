"""Who a program is: by its environment, else by the project it stands in, where it is registered at once."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Required, TypedDict

from dominie._credentials import RIGHTS_S, Credentials
from dominie._project import Project, load_keys
from dominie.keys import KeyPair
from dominie_contracts import Invalid, Unavailable
from dominie_contracts.subjects import check_principal, check_tenant

Kind = Literal["a", "w"]
URL, TENANT, PRINCIPAL = "DOMINIE_URL", "DOMINIE_TENANT", "DOMINIE_PRINCIPAL"
TOKEN_FILE = "DOMINIE_WORKLOAD_TOKEN_FILE"
SEED, SEED_FILE, RIGHTS, USER = "DOMINIE_SEED", "DOMINIE_SEED_FILE", "DOMINIE_RIGHTS_S", "DOMINIE_USER"
APPROVER_SEED_FILE, KEYS = "DOMINIE_APPROVER_SEED_FILE", "DOMINIE_KEYS"
"""Where an approver's key is; the operator's folder of keys."""
_NOT_NAME = re.compile(r"[^A-Za-z0-9_.@-]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """Credentials, and where they can be registered."""

    credentials: Credentials
    project: Project | None = None
    new: bool = False


def find(kind: Kind, name: str | None) -> Identity:
    """Who this program is.

    Args:
        kind: An agent or a tool worker.
        name: Its name; None: as the environment says, else as the script is called.

    Raises:
        Unavailable: Nothing says where Dominie is.
        Invalid: What says so cannot be used.
    """
    wanted = None if name is None else check_principal(f"{kind}-{name}")
    own = os.environ.get(PRINCIPAL, "")
    if URL in os.environ and (own == wanted or (wanted is None and own[:2] == f"{kind}-")):
        return Identity(from_environment(os.environ))
    try:
        project = Project.find()
    except Unavailable:
        if URL not in os.environ:
            raise
        raise Invalid(
            f"the environment has the identity {own!r} ({PRINCIPAL}), not {wanted or f'one that begins {kind}-'!r}"
        ) from None
    credentials, new = project.agent_credentials(wanted or f"{kind}-{script_name()}")
    return Identity(credentials, project, new)


def from_environment(environment: Mapping[str, str]) -> Credentials:
    """The credentials that `DOMINIE_*` give.

    Raises:
        Invalid: Some are missing, or are not what they should be.
    """
    missing = [name for name in (URL, TENANT, PRINCIPAL) if not environment.get(name)]
    if not any(environment.get(name) for name in (SEED, SEED_FILE, TOKEN_FILE)):
        missing.append(f"{SEED}, {SEED_FILE} or {TOKEN_FILE}")
    if missing:
        raise Invalid(f"the environment has {URL} but not {', '.join(missing)}")
    try:
        rights_s = float(environment.get(RIGHTS) or RIGHTS_S)
    except ValueError as error:
        raise Invalid(f"{RIGHTS} must be seconds, not {environment[RIGHTS]!r}") from error
    user = environment.get(USER)
    return Credentials(
        url=environment[URL],
        tenant=check_tenant(environment[TENANT]),
        principal=check_principal(environment[PRINCIPAL]),
        rights_s=rights_s,
        user=as_user(user) if user else None,
        **_keys(environment),
    )


def here() -> str:
    """The broker of the deployment that commands are for: as the environment says, else of this project.

    Raises:
        Unavailable: Nothing says where Dominie is.
    """
    return os.environ.get(URL) or Project.find().url


def as_user(name: str) -> str:
    """A person's principal: `dana` is `u-dana`."""
    return check_principal(name if name.startswith("u-") else f"u-{name}")


def script_name() -> str:
    """What to call the running program: its file's name."""
    path = Path(sys.argv[0] if sys.argv else "")
    stem = path.parent.name if path.stem == "__main__" else path.stem
    return _NOT_NAME.sub("-", stem).strip("-._@")[:60] or "agent"


class _Keys(TypedDict, total=False):
    keys: Required[KeyPair]
    seed_file: Path
    token_file: Path


def _keys(environment: Mapping[str, str]) -> _Keys:
    """What it proves itself with: a seed, one in a file, or what its cluster says and a key of this process."""
    if seed := environment.get(SEED):
        try:
            return {"keys": KeyPair(seed)}
        except Exception as error:  # nkeys raises what it likes
            raise Invalid(f"{SEED} is no nkey seed") from error
    if file := environment.get(SEED_FILE):
        return {"keys": load_keys(Path(file)), "seed_file": Path(file)}
    token = Path(environment[TOKEN_FILE])
    try:
        token.read_text()
    except (OSError, ValueError) as error:
        raise Invalid(f"no token of a cluster can be read from {str(token)!r}: {type(error).__name__}") from error
    return {"keys": KeyPair.generate(), "token_file": token}
