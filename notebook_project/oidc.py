"""The OpenID Connect provider that people may sign in at, from the environment, as allauth wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from notebook_project.env import env_bool, env_origins, env_secret, env_str, env_url


@dataclass(frozen=True)
class Provider:
    issuer: str
    client_id: str
    client_secret: str
    name: str
    makes_accounts: bool
    form_origins: tuple[str, ...]


def from_environment() -> Provider | None:
    """The provider, or None without OIDC_ISSUER. Raises ImproperlyConfigured for half of one."""
    issuer = env_url("OIDC_ISSUER", ("https", "http")).rstrip("/")
    if not issuer:
        return None
    parts = urlsplit(issuer)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1"):
        raise ImproperlyConfigured("OIDC_ISSUER must be an https:// URL.")
    client_id, client_secret = env_str("OIDC_CLIENT_ID"), env_secret("OIDC_CLIENT_SECRET")
    if not client_id or not client_secret:
        raise ImproperlyConfigured("OIDC_ISSUER needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET (or its _FILE).")
    return Provider(
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        name=env_str("OIDC_NAME", parts.hostname or "OpenID Connect"),
        makes_accounts=env_bool("OIDC_SIGNUP", True),
        form_origins=(f"{parts.scheme}://{parts.netloc}", *env_origins("OIDC_FORM_ORIGINS", [])),
    )


def provider(chosen: Provider | None) -> dict[str, Any]:
    """allauth's settings of the provider; its callback is /accounts/oidc/login/login/callback/."""
    if chosen is None:
        return {"APPS": []}
    app = {
        "provider_id": "login",
        "name": chosen.name,
        "client_id": chosen.client_id,
        "secret": chosen.client_secret,
        "settings": {"server_url": chosen.issuer},
    }
    return {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}


def origins(chosen: Provider | None) -> tuple[str, ...]:
    """Where a form may lead: the provider's own page to sign in."""
    return chosen.form_origins if chosen else ()
