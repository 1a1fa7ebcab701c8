"""Every key that a deployment has on this machine: since when, how it is kept, who uses it, what replaces it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from dominie.keys import KeyPair
from dominie.protected import Protected, read_key_file
from dominie_contracts import Invalid, Message
from dominie_contracts.identity import IDENTITY
from dominie_contracts.keys import KeyUse
from dominie_contracts.rights import OPERATOR
from dominie_kit.house.state import DEVELOPER, StateFolder
from dominie_kit.keys.folder import KeyFolder

Kept = Literal["plain", "passphrase", "keyring", "nowhere"]
Use = KeyUse | Literal["person", "agent", "worker"]
_OTHERS = 0o077
_USES: dict[KeyUse, str] = {
    "operator": "you, `dominie up`",
    "signer": "identity: run tokens",
    "callout": "identity: user tokens",
    "callout-user": "identity: auth callout",
    "warden": "identity: kicks",
}


class Held(Message):
    """A key of the deployment, or of somebody who uses it from here."""

    use: Use
    name: str
    nkey: str
    since_s: int
    """Unix time."""
    until_s: int | None = None
    """Unix time until when it is taken, where another has its place already."""
    kept: Kept
    """Nowhere: its place is another's, and who has it still has it in memory."""
    exposed: bool = False
    """Others on this machine can read the file."""
    used_by: str
    rotate: str
    """What replaces it."""


def held_keys(state: StateFolder, keys: KeyFolder, published: list[dict[str, Any]]) -> list[Held]:
    """All of them.

    Args:
        state: The project.
        keys: The folder of keys.
        published: The JWKS that identity publishes.

    Raises:
        KeyMissing, Invalid: One cannot be read.
    """
    times = {str(key["nkey"]): int(key["nbf"]) for key in published}
    found = [*_of_deployment(keys, published), *_of_people(state, keys), *_of_programs(state)]
    here = [each.model_copy(update={"since_s": times.get(each.nkey) or each.since_s}) for each in found]
    gone = [_gone(key) for key in published if key["nkey"] not in {each.nkey for each in here}]
    return [*here, *(each for each in gone if each.until_s is not None and each.until_s > time.time())]


def _of_deployment(keys: KeyFolder, published: list[dict[str, Any]]) -> Iterator[Held]:
    began, identity = keys.path / "public.json", keys.identity
    yield _of_file("operator", OPERATOR, keys.operator_file, _USES["operator"], "operator")
    for key in published:
        if key["for"] == "signer" and key["nkey"] != identity.signer.public:
            path = keys.path / "signers" / f"{key['nkey']}.seed"
            if path.exists():
                last = _of_file("signer", IDENTITY, path, _USES["signer"], "signer")
                yield last.model_copy(update={"until_s": key.get("exp")})
    shared = keys.path / "identity.json"
    if not published or identity.signer.public in {key["nkey"] for key in published}:
        yield _of_identity("signer", identity.signer, shared, began)
    yield _of_identity("callout", identity.callout_issuer, shared, began)
    yield _of_identity("callout-user", identity.callout_user, shared, began)
    yield _of_file("warden", IDENTITY, keys.path / "warden.seed", _USES["warden"], "identity")
    for path in sorted(keys.path.glob("services/*.json")):
        name, pair = path.stem, keys.service(path.stem)
        for kind, own in (("edge", pair.edge), ("inner", pair.inner)):
            yield _held("service", f"{name}/{kind}", own, path, name, f"services {name}")


def _of_people(state: StateFolder, keys: KeyFolder) -> Iterator[Held]:
    for path in sorted(keys.path.glob("people/*.seed")):
        yield _of_file("person", path.stem, path, "their approvals", f"person {path.stem.removeprefix('u-')}")
    if (path := state.path / "dev.seed").exists():
        yield _of_file("person", DEVELOPER, path, "the project", "person dev")


def _of_programs(state: StateFolder) -> Iterator[Held]:
    for path in sorted(state.path.glob("agents/*.seed")):
        kind: Literal["agent", "worker"] = "worker" if path.stem.startswith("w-") else "agent"
        found = _of_file(kind, path.stem, path, f"the {kind}", "")
        yield found.model_copy(update={"rotate": f"dominie agent rotate {path.stem}"})


def _of_identity(use: KeyUse, keys: KeyPair, path: Path, began: Path) -> Held:
    """Of `identity.json`, whose time says only when one of its keys was replaced."""
    name = "identity" if use == "callout-user" else use
    return _held(use, IDENTITY, keys, path, _USES[use], name, since=began)


def _of_file(use: Use, name: str, path: Path, used_by: str, rotate: str) -> Held:
    try:
        return _held(use, name, read_key_file(path), path, used_by, rotate)
    except OSError as error:
        raise Invalid(f"no key can be read from {str(path)!r}: {error.strerror}") from error


def _held(
    use: Use, name: str, key: KeyPair | Protected, path: Path, used_by: str, rotate: str, *, since: Path | None = None
) -> Held:
    return Held(
        use=use,
        name=name,
        nkey=key.public,
        since_s=int((since or path).stat().st_mtime),
        kept=_kept(key),
        exposed=bool(path.stat().st_mode & _OTHERS),
        used_by=used_by,
        rotate=f"dominie keys rotate {rotate}",
    )


def _kept(key: KeyPair | Protected) -> Kept:
    if isinstance(key, KeyPair):
        return "plain"
    return "passphrase" if key.entry is None else "keyring"


def _gone(key: dict[str, Any]) -> Held:
    """A key that is taken for a while longer."""
    return Held(
        use=key["for"],
        name=key["name"],
        nkey=key["nkey"],
        since_s=key["nbf"],
        until_s=key.get("exp"),
        kept="nowhere",
        used_by="who has it still",
        rotate="",
    )
