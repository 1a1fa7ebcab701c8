"""The key that signs run tokens now, and all public keys as a JWKS (RFC 7517) in the bus's key-value store."""

import json
from typing import Self

import anyio
import nats.errors
import structlog
from nats.aio.client import Client

from dominie.keys import KeyPair, key_id, public_jwk
from dominie_contracts import Invalid, Recorded, Unavailable
from dominie_contracts.identity import IDENTITY
from dominie_contracts.keys import KeyEntry, KeysChanged
from dominie_contracts.registry import parse_event
from dominie_contracts.subjects import JWKS_SUBJECT
from dominie_eventstore import InMemory
from dominie_kit.edge.run_tokens import ALGORITHM
from dominie_kit.errors import KeyMissing
from dominie_kit.keys.folder import KeyFolder

_PAUSE_S, _TIMEOUT_S = 1.0, 5.0
log = structlog.get_logger()


class Signers(InMemory):
    """A projection of the category `principal`: the keys that the log says are taken."""

    def __init__(self, folder: KeyFolder) -> None:
        self.position = 0
        self._folder = folder
        self.keys: tuple[KeyEntry, ...] = ()
        self.changed = 0
        """The position of the last change."""

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.type, event.envelope.data) if event.type.startswith("principal.keys.") else None
        if isinstance(payload, KeysChanged):
            self.keys, self.changed = payload.keys, event.position

    def fresh(self) -> Self:
        """Another one, of the same folder."""
        return type(self)(self._folder)

    def current(self, now_s: float) -> KeyPair:
        """The newest signer that signs already and is here.

        Raises:
            Unavailable: None is: another instance has it.
        """
        signers = [key for key in self.keys if key.use == "signer"]
        if not signers:
            return self._folder.identity.signer
        for key in sorted(signers, key=lambda each: each.from_s, reverse=True):
            if key.from_s <= now_s and (key.until_s is None or now_s < key.until_s):
                try:
                    return self._folder.signer_keys(key.nkey)
                except KeyMissing as error:
                    log.warning("signers.missing", why=str(error))
        raise Unavailable("this instance of identity has no key that is taken", retry_after_s=0.2)

    def check(self, nkey: str) -> None:
        """See that a signer is here before it is taken.

        Raises:
            Invalid: It is not.
        """
        try:
            self._folder.signer_keys(nkey)
        except KeyMissing as error:
            raise Invalid(f"identity has not this key ({error}); `dominie keys rotate signer` makes one") from error

    @property
    def first(self) -> KeyEntry:
        """The signer that the deployment began with."""
        nkey = self._folder.identity.signer.public
        return KeyEntry(use="signer", name=IDENTITY, nkey=nkey, kid=key_id(nkey), from_s=0)


def jwks(keys: tuple[KeyEntry, ...], position: int) -> bytes:
    """A JSON Web Key Set; `nbf` and `exp` say from when until when a key is used."""
    found = [
        {
            **public_jwk(key.nkey).as_dict(private=False),
            "kid": key.kid,
            "use": "sig",
            "alg": ALGORITHM,
            "for": key.use,
            "name": key.name,
            "nkey": key.nkey,
            "nbf": key.from_s,
            **({} if key.until_s is None else {"exp": key.until_s}),
        }
        for key in keys
    ]
    return json.dumps({"keys": found, "position": position}).encode()


async def publish_keys(client: Client, signers: Signers) -> None:
    """Publish the keys, and again whenever they have changed; every instance publishes the same."""
    done: int | None = None
    while True:
        changed = signers.changed
        if changed != done:
            try:
                body = jwks(signers.keys or (signers.first,), changed)
                await client.jetstream(timeout=_TIMEOUT_S).publish(JWKS_SUBJECT, body)
                done = changed
            except (nats.errors.Error, TimeoutError, OSError) as error:  # the broker is away, or nothing is provisioned
                log.info("keys.unpublished", error=type(error).__name__)
        await anyio.sleep(_PAUSE_S)
