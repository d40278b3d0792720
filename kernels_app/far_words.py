"""What errors of databases, Redis, S3 and TLS mean to who set a server up: which setting, what is wrong, what to do.

Pure: exceptions in, words out. Libraries' own words are looked at and never repeated, for they may quote a URL with its
password.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that does not work: the setting it hangs on, what is wrong, how to mend it."""

    setting: str
    words: str
    mend: str
    at: str = ""  # host and port, for what is elsewhere
    is_bearable: bool = False  # keeps nobody from starting

    @property
    def sentence(self) -> str:
        """Which setting, and what is wrong."""
        return f"{self.setting} ({self.at}): {self.words}" if self.at else f"{self.setting}: {self.words}"

    def __str__(self) -> str:
        return f"{self.sentence} {self.mend}"


# What TLS says -> what that means. Looked for in this order in all that an exception and its causes say.
_TLS = (
    ("certificate has expired", "the certificate there has expired.", "Renew it there."),
    ("certificate is not yet valid", "the certificate there is not valid yet.", "Are both clocks right?"),
    ("ip address mismatch", "the certificate there is for another name.", "Use the name it was made for."),
    ("hostname mismatch", "the certificate there is for another name.", "Use the name it was made for."),
    ("doesn't match", "the certificate there is for another name.", "Use the name it was made for."),
    ("does not match host name", "the certificate there is for another name.", "Use the name it was made for."),
    ("self-signed certificate", "the certificate there is signed by nobody this machine trusts.", ""),
    ("self signed certificate", "the certificate there is signed by nobody this machine trusts.", ""),
    ("unable to get local issuer", "the certificate there is signed by nobody this machine trusts.", ""),
    ("certificate verify failed", "the certificate there is not trusted.", ""),
    ("wrong version number", "what answers there does not speak TLS.", "Use the address without TLS, or the TLS port."),
    ("record layer failure", "what answers there does not speak TLS.", "Use the address without TLS, or the TLS port."),
)

_NETWORK = (
    ("name or service not known", "there is no host of that name."),
    ("could not translate host name", "there is no host of that name."),
    ("nodename nor servname", "there is no host of that name."),
    ("temporary failure in name resolution", "the name of the host cannot be looked up."),
    ("failed to resolve", "there is no host of that name."),
    ("no address associated", "there is no host of that name."),
    ("connection refused", "nothing listens there."),
    ("error 111", "nothing listens there."),
    ("error 61 ", "nothing listens there."),
    ("no route to host", "there is no way to that host."),
    ("network is unreachable", "there is no way to that host."),
    ("timed out", "nothing answers there in time."),
    ("timeout", "nothing answers there in time."),
)

_NO_ROOM = ("DATABASE_POOL_SIZE", "the database takes no more connections.", "Lower it, or allow more there.")
_NO_DATABASE = ("DATABASE_URL", "what answers there is no PostgreSQL.", "Is the port right?")
_DATABASE = {
    "password authentication failed": ("DATABASE_URL", "user or password is wrong.", "Set it, or DATABASE_PASSWORD."),
    "no password supplied": ("DATABASE_PASSWORD", "the database asks for a password.", "Or put it in DATABASE_URL."),
    "no pg_hba.conf entry": ("DATABASE_URL", "this machine or user is not let in.", "See pg_hba.conf there."),
    "permission denied": ("DATABASE_URL", "the user may not use this database.", "Grant it, or name another user."),
    "server does not support ssl": ("DATABASE_URL", "the database speaks no TLS.", "Turn it on, or drop sslmode."),
    "root certificate file": ("DATABASE_URL", "the file of sslrootcert is not there.", "Name the authority's file."),
    "invalid sslmode value": ("DATABASE_URL", "sslmode has no such value.", "Use verify-full, require or disable."),
    "invalid response to ssl negotiation": _NO_DATABASE,
    "expected authentication request": _NO_DATABASE,
    "server closed the connection": _NO_DATABASE,
    "too many clients": _NO_ROOM,
    "remaining connection slots": _NO_ROOM,
    "starting up": ("DATABASE_URL", "the database is still starting.", "Start again in a moment."),
    "shutting down": ("DATABASE_URL", "the database is shutting down.", "Start it."),
}

_TRUST = "Name the authority that signed it: {}."


def of_database(error: BaseException) -> Trouble:
    """A connection that PostgreSQL, libpq or Python's TLS did not make."""
    said = _said(error)
    if found := re.search(r'invalid (?:uri query parameter|connection option)s?:? "?([a-z_]+)', said):
        return Trouble("DATABASE_URL", f"libpq knows no parameter {found[1]}.", "Take it out of the URL.")
    if found := re.search(r'database "([^"]+)" does not exist', said):
        return Trouble("DATABASE_URL", f"there is no database {found[1]}.", f"Make it: createdb {found[1]}.")
    if found := re.search(r'role "([^"]+)" (?:does not exist|is not permitted)', said):
        return Trouble("DATABASE_URL", f"there is no user {found[1]} who may sign in.", "Make one, or name another.")
    for pattern, meaning in _DATABASE.items():
        if pattern in said:
            return Trouble(*meaning)
    return _far("DATABASE_URL", said, "sslrootcert=FILE in the URL", "Is PostgreSQL running, and reached from here?")


def of_redis(error: BaseException, url: str) -> Trouble:
    said = _said(error)
    if "nocredentials" in said:
        return Trouble("REDIS_IAM_USER", "this machine has no AWS identity.", "Give it a role, or use a password.")
    refused = ("wrongpass", "noauth", "invalid username-password", "authentication required", "client sent auth")
    if any(word in said for word in refused):
        return Trouble("REDIS_URL", "Redis refuses the user or the password.", "redis://user:password@host:port/0.")
    if "noperm" in said:
        return Trouble("REDIS_URL", "the user of Redis may not do what is needed.", "ACL SETUSER … +@all ~* &*.")
    closed = "connection closed by server" in said or "connection reset" in said or "protocol error" in said
    if closed and urlsplit(url).scheme == "redis":
        return Trouble("REDIS_URL", "what answers there ends the connection.", "Does it want TLS? Then rediss://.")
    if "invaliddatabase" in said or "db index is out of range" in said:
        return Trouble("REDIS_URL", "Redis has no database of that number.", "End the URL with /0.")
    mend = "Is Redis running there, with TLS?" if urlsplit(url).scheme == "rediss" else "Is Redis running there?"
    return _far("REDIS_URL", said, "SSL_CERT_FILE=FILE, or ?ssl_ca_certs=FILE in the URL", mend)


_ACCESS = "Set the credentials as boto3 finds them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role)."


def of_storage(error: BaseException) -> Trouble:
    """What botocore raises for a HEAD of the bucket, which has no body: the status tells."""
    said = _said(error)
    response = getattr(error, "response", None) or {}
    code = str(response.get("Error", {}).get("Code", ""))
    if "nocredentials" in said or "partialcredentials" in said:
        return Trouble("OUTPUTS_BUCKET", "there are no credentials for it.", _ACCESS)
    if code in ("404", "NoSuchBucket"):
        return Trouble("OUTPUTS_BUCKET", "there is no bucket of that name.", "Make it, or set its name.")
    if code in ("403", "401", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return Trouble("OUTPUTS_BUCKET", "the storage refuses the credentials.", f"{_ACCESS} They need s3:ListBucket.")
    if code in ("301", "307", "400", "PermanentRedirect", "AuthorizationHeaderMalformed"):
        return Trouble("OUTPUTS_REGION", "the bucket is in another region.", "Set the region it was made in.")
    if "invalid bucket name" in said or "parameter validation" in said:
        return Trouble("OUTPUTS_BUCKET", "that is no name of a bucket.", "Lower-case letters, digits, dots and dashes.")
    if code:
        return Trouble("OUTPUTS_ENDPOINT_URL", f"the storage answers {code[:40]}.", "Is it an S3 server, and well?")
    return _far("OUTPUTS_ENDPOINT_URL", said, "AWS_CA_BUNDLE=FILE", "Is the storage running, and reached from here?")


def of_oidc(error: BaseException) -> Trouble:
    said = _said(error)
    if "jsondecode" in said or "expecting value" in said or "httperror" in said or "attributeerror" in said:
        return Trouble("OIDC_ISSUER", "no OpenID provider describes itself there.", "Is the path of the issuer right?")
    return _far("OIDC_ISSUER", said, "SSL_CERT_FILE=FILE and REQUESTS_CA_BUNDLE=FILE", "Is it reached from here?")


def _far(setting: str, said: str, trust: str, mend: str) -> Trouble:
    """What may be wrong with anything that is reached by TCP and TLS."""
    for pattern, words, tls_mend in _TLS:
        if pattern in said:
            return Trouble(setting, words, tls_mend or _TRUST.format(trust))
    for pattern, words in _NETWORK:
        if pattern in said:
            return Trouble(setting, words, mend)
    return Trouble(setting, "what answers there is not understood.", mend)


def _said(error: BaseException) -> str:
    """All that an exception and what caused it say, in lower case, with the names of their types."""
    return " | ".join(f"{type(each).__name__}: {each}" for each in _chain(error)).lower()


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]
        waiting += [argument for argument in (*each.args, getattr(each, "reason", None)) if _is_error(argument)]


def _is_error(value: object) -> bool:
    return isinstance(value, BaseException | ssl.SSLError)
