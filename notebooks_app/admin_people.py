"""The admin of people and of how they sign in. None is deleted, and no secret of theirs is shown.

Registered by admin.py: what Django and allauth register themselves is replaced.
"""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join

from notebooks_app import usage
from notebooks_app.accounts import check_username
from notebooks_app.admin_lists import LookOnly, PageAdmin, fixed_filter, list_link
from notebooks_app.models import ApiToken, Connection, Membership, Notebook, Run

RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


def _is_above(person: Any) -> bool:
    return bool(person.is_staff or person.is_superuser)


def may_change(request: HttpRequest, person: Any) -> bool:
    """Whether this operator may change what is the person's: an operator's is changed by superusers and themselves."""
    return person is None or request.user.is_superuser or person.pk == request.user.pk or not _is_above(person)


def changeable(request: HttpRequest) -> QuerySet[Any]:
    """The people of whom `may_change` is true."""
    people = get_user_model().objects.all()
    if request.user.is_superuser:
        return people
    return people.filter(Q(is_staff=False, is_superuser=False) | Q(pk=request.user.pk))


def _below(request: HttpRequest, chosen: QuerySet[Any]) -> QuerySet[Any]:
    """Of the chosen people, those whom this operator may change."""
    return chosen if request.user.is_superuser else chosen.filter(is_staff=False, is_superuser=False)


def register() -> None:
    """Applications of providers are settings (OIDC_*), and nobody's tokens of a provider are kept: neither is shown."""
    replaced = [get_user_model(), Group, EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken]
    admin.site.unregister(replaced)
    admin.site.register(get_user_model(), PersonAdmin)
    admin.site.register(Group, RightsAdmin)
    admin.site.register(EmailAddress, AddressAdmin)
    admin.site.register(Authenticator, AuthenticatorAdmin)
    admin.site.register(SocialAccount, SocialAccountAdmin)


class NewPersonForm(AdminUserCreationForm):  # type: ignore[type-arg]
    def clean_username(self) -> str:
        return check_username(super().clean_username() or "")


class PersonForm(UserChangeForm):  # type: ignore[type-arg]
    def clean_username(self) -> str:
        """A username that is there already stays what it is."""
        username: str = self.cleaned_data["username"]
        return check_username(username) if "username" in self.changed_data else username


class PersonAdmin(PageAdmin, UserAdmin):  # type: ignore[type-arg]
    """People are switched off, not deleted: deleting one would take their notebooks and others' work in them along."""

    form, add_form = PersonForm, NewPersonForm
    list_display = ("username", "email", "full_name", "is_active", "is_staff", "last_login", "notebook_count")
    readonly_fields = ("last_login", "date_joined", "belongings")
    actions = ("deactivate", "activate", "revoke_tokens")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        sets = super().get_fieldsets(request, obj)
        return [*sets, ("Rillbook", {"fields": ("belongings",)})] if obj is not None else sets

    def fill(self, rows: list[Any]) -> None:
        counts = usage.notebooks_of_people([row.pk for row in rows])
        for row in rows:
            row.notebook_count = counts.get(row.pk, 0)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may change people gains nothing by it: operators are changed, and get passwords, by superusers alone."""
        return may_change(request, obj) and super().has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        found = super().get_readonly_fields(request, obj)
        return found if request.user.is_superuser else (*found, *RIGHTS)

    @admin.display(description="name")
    def full_name(self, person: Any) -> str:
        return person.get_full_name()

    @admin.display(description="notebooks")
    def notebook_count(self, person: Any) -> int:
        return person.notebook_count

    @admin.display
    def belongings(self, person: Any) -> str:
        return format_html_join(
            " · ",
            "{}",
            [
                [list_link(Notebook, "notebooks", owner__id__exact=person.pk)],
                [list_link(Membership, "memberships", user__id__exact=person.pk)],
                [list_link(Connection, "connections", owner__id__exact=person.pk)],
                [list_link(ApiToken, "tokens", user__id__exact=person.pk)],
                [list_link(Run, "runs they started", started_by__id__exact=person.pk)],
            ],
        )

    @admin.action(description="Switch off (ends their sessions, sockets and tokens)", permissions=["change"])
    def deactivate(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        self._set_active(request, chosen.exclude(pk=request.user.pk), False, "Switched off.")

    @admin.action(description="Switch on", permissions=["change"])
    def activate(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        self._set_active(request, chosen, True, "Switched on.")

    def _set_active(self, request: HttpRequest, chosen: QuerySet[Any], is_active: bool, words: str) -> None:
        people = list(_below(request, chosen).exclude(is_active=is_active))
        for person in people:
            person.is_active = is_active
            person.save(update_fields=["is_active"])
            self.log_change(request, person, words)
        messages.success(request, f"{len(people)}: {words}")

    @admin.action(description="Revoke all their API tokens", permissions=["change"])
    def revoke_tokens(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        count, _ = ApiToken.objects.filter(user__in=_below(request, chosen).values("pk")).delete()
        messages.success(request, f"{count} tokens revoked.")


class RightsAdmin(GroupAdmin):
    """Groups of rights: as rights of people, given by superusers alone."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)


# --- What belongs to allauth -----------------------------------------------------------------------------------------

class RemoveOnly(LookOnly):
    """People make these themselves; an operator takes them away from who cannot any more."""

    search_fields: tuple[str, ...] = ("user__username",)
    list_select_related = ("user",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is not None and _is_above(obj.user) and not request.user.is_superuser:
            return False
        return request.user.has_perm(f"{self.opts.app_label}.delete_{self.opts.model_name}")


class AddressAdmin(RemoveOnly):
    """E-mail addresses, which sign in and get new passwords: only who reads its mail verifies one."""

    list_display = ("email", "user", "primary", "verified")
    list_filter = ("primary", "verified")
    search_fields = ("email", "user__username")
    fields = list_display


class AuthenticatorAdmin(RemoveOnly):
    """Second factors: whoever lost theirs signs in with the password alone once it is deleted. Never what they hold."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = (fixed_filter("type", "type", Authenticator.Type.choices),)
    fields = list_display


class SocialAccountAdmin(RemoveOnly):
    """Whom a provider of identities knows as which person."""

    list_display = ("user", "provider", "uid", "last_login", "date_joined")
    search_fields = ("user__username", "uid")
    fields = list_display
