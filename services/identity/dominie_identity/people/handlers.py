"""Answers what identity is asked of people who sign in."""

import time
from collections.abc import Sequence

from joserfc import jwt
from joserfc.errors import JoseError
from pydantic import ValidationError

from dominie.keys import public_jwk
from dominie_contracts import Invalid, StreamName, Unauthenticated
from dominie_contracts.identity import PRINCIPAL, ListIssuers, SignIn, Vouch
from dominie_contracts.people import PROOF_S, SIGN_IN_AUDIENCE, Issuers, SignedIn, SignInClaims, Vouched
from dominie_identity.adapters.key_store import KeyStore
from dominie_identity.adapters.writer import PrincipalWriter
from dominie_identity.aggregate import PrincipalEvent, State
from dominie_identity.people.aggregate import check_browser, decide_sign_in
from dominie_identity.people.directory import Directory
from dominie_identity.people.tokens import LEEWAY_S
from dominie_identity.people.vouching import Person
from dominie_kit import Context
from dominie_kit.edge.run_tokens import ALGORITHM


class PeopleHandlers:
    """People whom an issuer vouches for get a key of their own for a while."""

    def __init__(self, directory: Directory, writer: PrincipalWriter, keys: KeyStore) -> None:
        self._directory = directory
        self._writer = writer
        self._keys = keys

    async def issuers(self, command: ListIssuers, context: Context) -> Issuers:
        """Where people can sign in."""
        return Issuers(issuers=self._directory.providers)

    async def sign_in(self, command: SignIn, context: Context) -> SignedIn:
        """Register the person that an ID token is about, with the key that they have shown to have."""
        who = await self._directory.person(command.issuer, command.subject_token)
        check_proof(command, who, now_s=time.time())

        def change(state: State) -> Sequence[PrincipalEvent]:
            login_s = self._directory.login_s(command.issuer)
            now_s = int(time.time())
            return decide_sign_in(state, who, command.nkey, issuer=command.issuer, login_s=login_s, now_s=now_s)

        state = await self._writer.write(StreamName(who.tenant, PRINCIPAL, who.principal), change, context)
        self._keys.welcome(who.tenant, who.principal, context.position)
        assert state.registered is not None and state.registered.login is not None
        login = state.registered.login
        return SignedIn(
            tenant=who.tenant,
            principal=who.principal,
            groups=state.registered.groups,
            issuer=login.issuer,
            auth_time=login.auth_time,
            until_s=login.until_s,
        )

    async def vouch(self, command: Vouch, context: Context) -> Vouched:
        """Who signed in with a browser, for the gateway to show them what they may see."""
        who = await self._directory.person(command.issuer, command.subject_token)
        state = await self._writer.load(StreamName(who.tenant, PRINCIPAL, who.principal))
        check_browser(state, who, command.nonce)
        until_s = min(who.expires_s, int(time.time()) + self._directory.login_s(command.issuer))
        return Vouched(
            tenant=who.tenant, principal=who.principal, groups=who.groups, issuer=command.issuer, until_s=until_s
        )


def check_proof(command: SignIn, who: Person, *, now_s: float) -> None:
    """Whoever shows an ID token has the key that it is to be for.

    Raises:
        Invalid: It is no user's key.
        Unauthenticated: They have not shown so.
    """
    try:
        key = public_jwk(command.nkey)
    except ValueError as error:
        raise Invalid("the key is no public nkey") from error
    if not command.nkey.startswith("U"):
        raise Invalid("the key is no user's: a person's public key begins with 'U'")
    try:
        claims = SignInClaims.model_validate(jwt.decode(command.proof, key, algorithms=[ALGORITHM]).claims)
    except (JoseError, ValidationError, ValueError) as error:
        raise Unauthenticated(f"the proof is not signed with the key ({type(error).__name__})") from error
    if claims.aud != SIGN_IN_AUDIENCE or claims.token != who.token:
        raise Unauthenticated("the proof is for something else")
    if not claims.iat - LEEWAY_S <= now_s < min(claims.exp, claims.iat + PROOF_S) + LEEWAY_S:
        raise Unauthenticated("the proof is not of now")
