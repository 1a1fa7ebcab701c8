"""Whom a command speaks as: the project's developer, or an approver with a key of their own."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dominie import Client, Credentials

TIMEOUT_S = 20.0
APPROVER_SEED_FILE = "DOMINIE_APPROVER_SEED_FILE"


def developer() -> "Client":
    """A client as the developer; or as the person that the environment names."""
    from dominie import Client
    from dominie._config import PRINCIPAL, URL, from_environment
    from dominie._project import Project

    if URL in os.environ and os.environ.get(PRINCIPAL, "").startswith("u-"):
        return Client(credentials=from_environment(os.environ), timeout_s=TIMEOUT_S)
    return Client(credentials=Project.find().developer_credentials(), timeout_s=TIMEOUT_S)


def person(name: str | None, key: Path | None) -> "Client":
    """A client as somebody with a key of their own; as the developer where nobody is named."""
    return developer() if name is None and key is None else approver(name or "dev", key)


def approver(name: str, key: Path | None) -> "Client":
    """A client as an approver, whose key is not in the project."""
    from dominie import Client

    return Client(credentials=credentials_of(name, key), timeout_s=TIMEOUT_S)


def credentials_of(name: str, key: Path | None) -> "Credentials":
    """Who an approver is, and their key."""
    from dominie import Credentials, Invalid, Unavailable
    from dominie._config import TENANT, URL, as_user
    from dominie._project import Project, load_keys

    principal = as_user(name)
    path = key or (Path(os.environ[APPROVER_SEED_FILE]) if os.environ.get(APPROVER_SEED_FILE) else None)
    try:
        project = Project.find()
    except Unavailable:
        if path is None or not os.environ.get(URL) or not os.environ.get(TENANT):
            raise
        return Credentials(os.environ[URL], os.environ[TENANT], principal, load_keys(path))
    if path is None and project.keys is None:
        raise Invalid(f"whose key? give --key FILE or set {APPROVER_SEED_FILE}")
    return project.credentials(principal, load_keys(path or _people(project) / f"{principal}.seed"))


def _people(project: object) -> Path:
    keys = getattr(project, "keys", None)
    assert isinstance(keys, Path)
    return keys / "people"


def agent_principal(name: str) -> str:
    """`desk` is `a-desk`; `w-tools` stays what it is."""
    from dominie_contracts.subjects import check_principal

    return check_principal(name if name[:2] in ("a-", "w-", "u-") else f"a-{name}")
