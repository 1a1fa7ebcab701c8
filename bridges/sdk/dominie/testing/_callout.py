"""An auth callout that gives each principal the rights that a test says."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from nats.aio.msg import Msg

from dominie.keys import KeyPair, public_jwk
from dominie.testing._broker import Broker, lasting
from dominie_contracts.subjects import inbox_prefix

CONFIG = """
accounts {{ AUTH: {{ users: [ {{ nkey: {auth} }} ] }}, APP: {{ users: [ {{ nkey: {service} }} ] }} }}
authorization {{
  timeout: 1.5
  auth_callout {{ issuer: {issuer}, auth_users: [ {auth}, {service} ], account: AUTH }}
}}
"""


@dataclass
class Callout:
    """Gives rights to whom it knows; `rights_s` long."""

    broker: Broker
    rights_s: int = 2
    auth: KeyPair = field(default_factory=KeyPair.generate)
    service: KeyPair = field(default_factory=KeyPair.generate)
    issuer: KeyPair = field(default_factory=lambda: KeyPair.generate(account=True))
    known: dict[str, str] = field(default_factory=dict)
    publish: list[str] = field(default_factory=lambda: ["cmd.>"])
    subscribe: list[str] = field(default_factory=list)
    connects: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def configure(self) -> None:
        """Have the broker ask this callout; `service` connects without it."""
        pairs = {"auth": self.auth.public, "service": self.service.public, "issuer": self.issuer.public}
        self.broker.config = CONFIG.format(**pairs)

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        client = await lasting(self.broker.url, nkeys_seed_str=self.auth.seed)
        try:
            await client.subscribe("$SYS.REQ.USER.AUTH", cb=self._answer)
            await client.flush()
            yield
        finally:
            await client.close()

    async def until(self, connects: int) -> None:
        """Wait until somebody was let in so many times."""
        while self.connects < connects:
            self.came.clear()
            await self.came.wait()

    async def _answer(self, message: Msg) -> None:
        asked = _payload(message.data.decode())["nats"]
        answer: dict[str, Any] = {"type": "authorization_response", "version": 2}
        try:
            answer["jwt"] = self._user(asked)
            self.connects += 1
            self.came.set()
        except Exception as error:
            answer["error"] = repr(error)
        said = {"sub": asked["user_nkey"], "aud": asked["server_id"]["id"], "nats": answer}
        await message.respond(self._sign(said).encode())

    def _user(self, asked: dict[str, Any]) -> str:
        given = asked["connect_opts"]
        principal = _payload(given["auth_token"])["sub"]
        known = self.known[principal]
        assert known == given["nkey"]
        jwt.decode(given["auth_token"], public_jwk(known), algorithms=["Ed25519"])
        hears = [f"{inbox_prefix('acme', principal)}.>", *self.subscribe]
        rights = {"pub": {"allow": self.publish}, "sub": {"allow": hears}, "subs": -1, "data": -1, "payload": -1}
        exp = int(time.time()) + self.rights_s
        nats_ = {**rights, "type": "user", "version": 2}
        return self._sign({"sub": asked["user_nkey"], "aud": "APP", "exp": exp, "nats": nats_})

    def _sign(self, claims: dict[str, Any]) -> str:
        claims = {**claims, "iss": self.issuer.public, "iat": int(time.time()), "jti": ""}
        digest = hashlib.new("sha512_256", json.dumps(claims, sort_keys=True).encode()).digest()
        claims["jti"] = base64.b32encode(digest).rstrip(b"=").decode()
        parts = [_b64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)]
        return ".".join((*parts, _b64(self.issuer.sign(".".join(parts).encode()))))


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _payload(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found
