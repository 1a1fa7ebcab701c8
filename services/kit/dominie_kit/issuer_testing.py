"""An issuer on this machine that says whatever a test has it say, and counts how often it is asked."""

import base64
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jwt
from joserfc.jwk import Key, RSAKey

CONFIGURATION, JWKS = "/.well-known/openid-configuration", "/jwks"
AUTHORIZE, TOKEN = "/authorize", "/token"
AUDIENCE = "dominie-cli"


class StaticIssuer:
    """Its metadata and keys; `answers` replaces what it says at a path: a status, headers and a body."""

    def __init__(self, url: str, key: RSAKey | None) -> None:
        self.url = url
        self.key = key or RSAKey.generate_key(2048, {"kid": "first"})
        self.keys: list[Mapping[str, Any]] = [self.key.as_dict(private=False)]
        self.metadata: dict[str, Any] = {
            "issuer": url,
            "jwks_uri": url + JWKS,
            "authorization_endpoint": url + AUTHORIZE,
            "token_endpoint": url + TOKEN,
        }
        self.codes: dict[str, tuple[dict[str, str], str]] = {}
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: Counter[str] = Counter()
        self.headers: list[Mapping[str, str]] = []

    def claims(self, **changed: object) -> dict[str, Any]:
        """Those of a right ID token; None takes a claim away."""
        now = int(time.time())
        right = {"iss": self.url, "sub": "s-dana", "aud": AUDIENCE, "iat": now, "exp": now + 3600, "name": "dana"}
        return {name: value for name, value in {**right, **changed}.items() if value is not None}

    def token(self, *, header: Mapping[str, Any] | None = None, key: Key | None = None, **changed: object) -> str:
        """A token that it signed just now, with other claims."""
        head = {"alg": "RS256", "kid": "first", **(header or {})}
        return jwt.encode(
            {name: value for name, value in head.items() if value is not None},
            self.claims(jti=str(time.time_ns()), **changed),
            key or self.key,
            algorithms=[head["alg"]],
        )

    def code(self, asked: Mapping[str, str], token: str) -> str:
        """What it gives a browser that came with these parameters, for a token (RFC 6749, 4.1.2)."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = ({name: asked[name] for name in ("client_id", "redirect_uri", "code_challenge")}, token)
        return code

    def redeem(self, form: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The token for a code: once, to the same client, who has the verifier (RFC 7636, 4.6)."""
        self.asked[TOKEN] += 1
        shown = base64.urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        said = {"client_id": form.get("client_id"), "redirect_uri": form.get("redirect_uri"), "code_challenge": shown}
        asked, token = self.codes.pop(form.get("code", ""), (None, ""))
        if asked != said or form.get("grant_type") != "authorization_code":
            return 400, {}, b'{"error": "invalid_grant"}'
        return 200, {}, json.dumps({"access_token": "a", "token_type": "Bearer", "id_token": token}).encode()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """What it says at a path."""
        self.asked[path] += 1
        if path in self.answers:
            return self.answers[path]
        found = {CONFIGURATION: self.metadata, JWKS: {"keys": self.keys}}.get(path)
        return (404, {}, b"") if found is None else (200, {}, json.dumps(found).encode())


@contextmanager
def issuing(key: RSAKey | None = None) -> Iterator[StaticIssuer]:
    """An issuer that answers on a free port; its key is its own unless one is given: they take a while to make."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.answer(*issuer.answer(self.path))

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["content-length"])).decode()
            self.answer(*(issuer.redeem(dict(parse_qsl(form))) if self.path == TOKEN else (404, {}, b"")))

        def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = StaticIssuer(f"http://127.0.0.1:{server.server_port}", key)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join(20)
