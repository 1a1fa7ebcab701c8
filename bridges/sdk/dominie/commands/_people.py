"""Whom a command speaks as: the project's developer, or an approver with a key of their own."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dominie import Client, Credentials
    from dominie._project import Project

TIMEOUT_S = 20.0
DEFAULT_APPROVER = "finance"


def developer() -> "Client":
    """A client as the developer; or as the person that the environment names."""
    from dominie import Client, Unavailable
    from dominie._config import PRINCIPAL, URL, from_environment
    from dominie._project import Project

    if URL in os.environ and os.environ.get(PRINCIPAL, "").startswith("u-"):
        return Client(credentials=from_environment(os.environ), timeout_s=TIMEOUT_S)
    try:
        project = Project.find()
    except Unavailable:
        if (found := logged_in(None)) is None:
            raise
        return Client(credentials=found, timeout_s=TIMEOUT_S)
    return Client(credentials=project.developer_credentials(), timeout_s=TIMEOUT_S)


def person(name: str | None, key: Path | None) -> "Client":
    """A client as somebody with a key of their own; where nobody is named as who is logged in, else the developer."""
    from dominie import Client

    if key is not None or (name is not None and not _is_developer(name)):
        return approver(name or "dev", key)
    if name is not None:
        return developer()
    found = logged_in(None)
    return developer() if found is None else Client(credentials=found, timeout_s=TIMEOUT_S)


def _is_developer(name: str) -> bool:
    from dominie import Unavailable
    from dominie._config import as_user
    from dominie._project import Project

    try:
        return Project.find().developer == as_user(name)
    except Unavailable:
        return False


def approver(name: str | None, key: Path | None) -> "Client":
    """A client as an approver, whose key is not in the project; where nobody is named as who is logged in."""
    from dominie import Client

    found = logged_in(name) if key is None else None
    return Client(credentials=found or credentials_of(name or DEFAULT_APPROVER, key), timeout_s=TIMEOUT_S)


def logged_in(name: str | None) -> "Credentials | None":
    """Who is logged in here, if that is who is named."""
    from dominie import Unavailable
    from dominie._config import as_user, here
    from dominie._login import find

    try:
        found = find(here())
    except Unavailable:
        return None
    if found is None or (name is not None and found.who.principal != as_user(name)):
        return None
    return found.credentials()


def credentials_of(name: str, key: Path | None) -> "Credentials":
    """Who an approver is, and their key."""
    from dominie import Credentials, Invalid, Unavailable
    from dominie._config import APPROVER_SEED_FILE, TENANT, URL, as_user
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
    return project.credentials(principal, load_keys(path or _seed_of(project, principal)))


def _seed_of(project: "Project", principal: str) -> Path:
    """Where somebody's key is, beside those of the deployment."""
    from dominie import Invalid

    assert project.keys is not None
    path = project.keys / "people" / f"{principal}.seed"
    if path.exists():
        return path
    if principal == project.developer:
        raise Invalid(f"{principal}'s key is in the project, where agents can read it: nothing is answered with that")
    text = f"no key is at {str(path)!r}: `dominie approvals enrol {principal[2:]} --group GROUP` makes one"
    raise Invalid(f"{text}, --key FILE names another")


def agent_principal(name: str) -> str:
    """`desk` is `a-desk`; `w-tools` stays what it is."""
    from dominie_contracts.subjects import check_principal

    return check_principal(name if name[:2] in ("a-", "w-", "u-") else f"a-{name}")
