"""An OpenID provider of its own process: oidc-provider-mock, with the device flow that it lacks (RFC 8628, by Authlib).

`python openid_provider.py`: prints its address, and ends with its standard input. The person is whom a test says, by
`POST /test/approve` (`user_code`, `sub`, or `deny`); `POST /test/expire` ends a code; `POST /test/client` registers a
client with a secret (any other needs none).
"""

import json
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import flask
import oidc_provider_mock
from authlib.integrations.flask_oauth2.requests import FlaskOAuth2Request
from authlib.jose import jwt
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidClientError
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant
from oidc_provider_mock._storage import Client, User, storage
from werkzeug.serving import make_server

INTERVAL_S = 1


@dataclass
class Credential:
    """One device code."""

    client_id: str
    scope: str
    user_code: str
    expires: float = field(default_factory=lambda: time.time() + 300)
    granted: "tuple[User, bool] | None" = None
    polled: float = 0.0

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return time.time() > self.expires


CODES: dict[str, Credential] = {}
Client.GRANT_TYPES_SUPPORTED = [*Client.GRANT_TYPES_SUPPORTED, DeviceCodeGrant.GRANT_TYPE]


def by_user_code(user_code: str) -> Credential:
    return next(each for each in CODES.values() if each.user_code == user_code)


class Endpoint(DeviceAuthorizationEndpoint):  # type: ignore[misc]  # Authlib ships no types
    INTERVAL = INTERVAL_S

    def get_verification_uri(self) -> str:
        return flask.request.host_url + "device"

    def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
        CODES[data["device_code"]] = Credential(client_id, scope, data["user_code"])


class Grant(DeviceCodeGrant):  # type: ignore[misc]  # Authlib ships no types
    TOKEN_ENDPOINT_AUTH_METHODS = ("none", "client_secret_basic", "client_secret_post")

    def query_device_credential(self, device_code: str) -> "Credential | None":
        return CODES.get(device_code)

    def query_user_grant(self, user_code: str) -> "tuple[User, bool] | None":
        return by_user_code(user_code).granted

    def should_slow_down(self, credential: Credential) -> bool:
        early = time.time() - credential.polled < INTERVAL_S * 0.5
        credential.polled = time.time()
        return early

    def create_token_response(self) -> Any:
        status, body, headers = super().create_token_response()
        user, now = self.request.user, int(time.time())
        claims = {
            **user.claims,
            "iss": flask.request.host_url.rstrip("/"),
            "sub": user.sub,
            "aud": self.request.client.get_client_id(),
            "iat": now,
            "exp": now + 3600,
            "auth_time": now,
        }
        header = {"alg": "RS256", "kid": storage.jwk.thumbprint()}
        body["id_token"] = jwt.encode(header, claims, storage.jwk.as_dict(is_private=True)).decode()
        return status, body, headers


def make() -> flask.Flask:
    app: flask.Flask = oidc_provider_mock.app()
    served = flask.Blueprint("device", __name__)
    app.before_request_funcs.setdefault(None, []).append(device_token)
    served.post("/oauth2/device")(device)
    served.post("/test/approve")(approve)
    served.post("/test/expire")(expire)
    served.post("/test/client")(client)
    app.register_blueprint(served)
    app.after_request(discovered)
    return app


def device_token() -> Any:
    """Served before the provider's own route, which knows no such grant."""
    form = flask.request.form
    if flask.request.path != "/oauth2/token" or form.get("grant_type") != DeviceCodeGrant.GRANT_TYPE:
        return None
    server = flask.g._authlib_authorization_server
    request = FlaskOAuth2Request(flask.request)
    try:
        grant = Grant(request, server)
        grant.validate_token_request()
        return server.handle_response(*grant.create_token_response())
    except OAuth2Error as error:
        return server.handle_error_response(request, error)


def device() -> Any:
    server = flask.g._authlib_authorization_server
    request = FlaskOAuth2Request(flask.request)
    try:
        return server.handle_response(*Endpoint(server).create_endpoint_response(request))
    except InvalidClientError as error:
        return server.handle_error_response(request, error)


def approve() -> Any:
    said = flask.request.get_json()
    user = User(sub=said["sub"], claims=said.get("claims", {}))
    storage.store_user(user)
    by_user_code(said["user_code"]).granted = (user, not said.get("deny", False))
    return {}


def client() -> Any:
    said = flask.request.get_json()
    scopes, redirect = ["openid", "profile"], {"redirect_uris": [said["callback"]]}
    known = {"id": said["id"], "secret": said["secret"], "token_endpoint_auth_method": said["method"]}
    storage.store_client(Client(**known, **redirect, allowed_scopes=scopes))
    return {}


def expire() -> Any:
    by_user_code(flask.request.get_json()["user_code"]).expires = 0.0
    return {}


def discovered(response: Any) -> Any:
    if flask.request.path == "/.well-known/openid-configuration":
        found = {**response.get_json(), "device_authorization_endpoint": flask.request.host_url + "oauth2/device"}
        if flask.request.host.startswith("localhost"):  # by this name it is an issuer that takes secrets in forms alone
            found["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
        response.set_data(json.dumps(found))
    return response


def main() -> None:
    server = make_server("127.0.0.1", 0, make(), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
