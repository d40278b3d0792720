"""Who may make an account and how one signs in: allauth's adapter and the one backend that looks at passwords.

How often a password may be tried is sign_in_limits.py's.
"""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import unquote

from allauth.account import forms as allauth_forms
from allauth.account.adapter import DefaultAccountAdapter, get_adapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.account.internal.userkit import filter_users_by_email, get_user_by_username
from allauth.account.models import EmailAddress
from allauth.account.signals import password_reset
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.contrib.auth import user_logged_in
from django.core.exceptions import ValidationError
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme

from notebooks_app import sign_in_limits
from notebooks_app.middleware import SIGNED_IN

DECODED_AT_MOST = 4
RESETS_AT_MOST = 3  # mails for one request: of the first accounts that claim the address
ILL_SLASHES = re.compile(r"^//|\\|[\x00-\x20]")
REFUSED = "_rillbook_refused"  # on a request: for how many seconds nothing may be tried


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.SIGNUP_OPEN

    def clean_username(self, username: str, shallow: bool = False) -> str:
        return super().clean_username(check_username(username), shallow)

    def is_safe_url(self, url: str | None) -> bool:
        """Whether one may be sent there after signing in or out: a path here, also to who decodes it first."""
        return bool(url) and is_path_here(str(url))

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Attempts are counted by PasswordBackend, for every way of signing in alike."""

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        user = super().authenticate(request, **credentials)
        wait_s = getattr(request, REFUSED, None)
        if user is None and wait_s is not None:
            minutes = max(1, math.ceil(wait_s / 60))
            raise ValidationError(
                f"Too many attempts. Try again in {minutes} minute{'s' if minutes > 1 else ''}, or reset the password.",
                code="too_many_login_attempts",
            )
        return user


def check_username(username: str) -> str:
    """The username. Raises ValidationError for one that reads as an address: people are found by either."""
    if "@" in username:
        raise ValidationError("A username has no @ in it.", code="invalid")
    return username


def is_path_here(url: str) -> bool:
    for _ in range(DECODED_AT_MOST):
        if not url_has_allowed_host_and_scheme(url, None) or not url.startswith("/") or ILL_SLASHES.search(url):
            return False
        url, before = unquote(url), url
        if url == before:
            return True
    return False


class ProviderAdapter(DefaultSocialAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """The operator's provider decides whom it lets in; OIDC_SIGNUP=off admits only who has an account."""
        return bool(settings.OIDC and settings.OIDC.makes_accounts)

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """An address is verified if the provider says `true`: some say "false", as text."""
        for address in sociallogin.email_addresses:
            address.verified = address.verified is True


class PasswordBackend(AuthenticationBackend):
    """Passwords by username or e-mail address, within limits."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> Any:
        if not credentials.get("password"):
            return None
        try:
            with sign_in_limits.attempt(request, account_of(credentials)) as was_right:
                user = super().authenticate(request, **credentials)
                if user is not None:
                    was_right()
                return user
        except sign_in_limits.TooManyAttempts as refused:
            if request is not None:
                setattr(request, REFUSED, refused.wait_s)
            raise


    def _authenticate(self, request: HttpRequest | None, **credentials: Any) -> Any:
        """One account is tried, once: allauth hashes twice for an address that it knows, and so tells that it does."""
        return self._check_password(person_of(credentials), credentials["password"])


class ChangePasswordForm(allauth_forms.ChangePasswordForm):
    """As allauth's, but the present password is counted like one that signs in."""

    def clean_oldpassword(self) -> str:
        password: str = self.cleaned_data["oldpassword"]
        if not get_adapter().reauthenticate(self.user, password):
            raise get_adapter().validation_error("enter_current_password")
        return password


class ResetPasswordForm(allauth_forms.ResetPasswordForm):
    """As allauth's, but however many accounts claim an address, few mails go there."""

    def clean_email(self) -> Any:
        email = super().clean_email()
        found: list[Any] = self.users  # type: ignore[has-type]
        self.users = sorted(found, key=lambda user: user.pk)[:RESETS_AT_MOST]
        return email


def person_of_name(name: str) -> Any:
    """The account of a username or address; None for nobody's.

    An address is first of all its who verified it, whoever's username it is; last, of who claimed it first.
    """
    verified = EmailAddress.objects.filter(email=name.lower(), verified=True).select_related("user").first()
    if verified is not None:
        return verified.user
    claimed = filter_users_by_email(name, prefer_verified=True, for_login=True)
    return get_user_by_username(name) or min(claimed, key=lambda user: user.pk, default=None)


def person_of(credentials: dict[str, Any]) -> Any:
    """The account that is tried, by its username or address; None for nobody's name."""
    for name in (credentials.get("username"), credentials.get("email")):
        if name and (user := person_of_name(name)) is not None:
            return user
    return None


def account_of(credentials: dict[str, Any]) -> str:
    """The account that is tried, as a key: its number, by whatever name; for nobody's name, that name."""
    user = person_of(credentials)
    if user is not None:
        return str(user.pk)
    return f"nobody {str(credentials.get('username') or credentials.get('email') or '').casefold()}"


# Who reads the account's mail is not locked out with strangers: the browser that chose the password has its own count.
@receiver(user_logged_in)
@receiver(password_reset)
def _note_device(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    setattr(request, SIGNED_IN, str(user.pk))
