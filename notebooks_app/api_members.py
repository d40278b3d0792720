"""The API of a notebook's members and share links: for its owner; a member may leave.

Rules are in members.py and sharing.py.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers as drf
from rest_framework.request import Request
from rest_framework.response import Response

from notebooks_app import members, serializers, sharing
from notebooks_app.access import Role
from notebooks_app.api_base import ApiView
from notebooks_app.errors import NotFound
from notebooks_app.models import Membership, ShareLink

type Document = dict[str, Any]

USER_MAX_LENGTH = 254  # of an e-mail address
MAX_ID = (1 << 63) - 1


class MemberIn(serializers.Body):
    user = serializers.Name(length=USER_MAX_LENGTH, help_text="exact username or e-mail address")
    role = serializers.Choice(Membership.Role.values)


class MemberPatch(serializers.Body):
    role = serializers.Choice(Membership.Role.values)


class PersonOut(drf.Serializer[Any]):
    user = drf.IntegerField()
    username = drf.CharField()
    name = drf.CharField()


class MemberOut(PersonOut):
    role = drf.ChoiceField(Membership.Role.values)
    created_at = drf.DateTimeField()
    by_link = drf.UUIDField(allow_null=True, help_text="the share link this person came by; null: named")


class MembersOut(drf.Serializer[Any]):
    owner = PersonOut()
    members = MemberOut(many=True)


class MemberList(ApiView):
    @extend_schema(operation_id="members_list", responses={200: MembersOut})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        notebook = self.open(notebook_id, Role.OWNER, "see its members").notebook
        live = Membership.objects.live().filter(notebook_id=notebook_id)
        found = live.select_related("user").order_by("created_at", "id")
        return Response({"owner": _person(notebook.owner), "members": [_member(member) for member in found]})

    @extend_schema(request=MemberIn, responses={201: MemberOut})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        notebook = self.open(notebook_id, Role.OWNER, "add members").notebook
        body = self.body(MemberIn)
        return Response(_member(members.add(notebook, members.find_person(body["user"]), body["role"])), status=201)


class MemberDetail(ApiView):
    @extend_schema(request=MemberPatch, responses={200: MemberOut})
    def patch(self, request: Request, notebook_id: uuid.UUID, user_id: int) -> Response:
        self.open(notebook_id, Role.OWNER, "change roles")
        body = self.body(MemberPatch)
        return Response(_member(members.change(notebook_id, _known(user_id), body["role"])))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, notebook_id: uuid.UUID, user_id: int) -> Response:
        is_leaving = user_id == request.user.pk
        self.open(notebook_id, Role.VIEWER if is_leaving else Role.OWNER, "remove members")
        self.require_scope(Role.EDITOR, "leave a notebook")
        members.remove(notebook_id, _known(user_id))
        return Response(status=204)


class LinkIn(serializers.Body):
    role = serializers.Choice(Membership.Role.values)
    name = serializers.Name(length=100, required=False, help_text="what you call it")
    allows_guests = serializers.Flag(default=False, help_text="opens without an account; viewers only")
    expires_at = serializers.When(allow_null=True, default=None)


class LinkOut(drf.Serializer[Any]):
    id = drf.UUIDField()
    name = drf.CharField()
    role = drf.ChoiceField(Membership.Role.values)
    allows_guests = drf.BooleanField()
    created_at = drf.DateTimeField()
    expires_at = drf.DateTimeField(allow_null=True)
    is_expired = drf.BooleanField()
    uses = drf.IntegerField()
    last_used_at = drf.DateTimeField(allow_null=True)


class LinkMade(LinkOut):
    url = drf.CharField(help_text="shown this once: only its hash is kept")


class LinksOut(drf.Serializer[Any]):
    links = LinkOut(many=True)


class LinkList(ApiView):
    answers_secret = True

    @extend_schema(operation_id="links_list", responses={200: LinksOut})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.OWNER, "see its share links")
        return Response({"links": [_link(link) for link in sharing.links_of(notebook_id)]})

    @extend_schema(request=LinkIn, responses={201: LinkMade})
    def post(self, request: Request, notebook_id: uuid.UUID) -> Response:
        notebook = self.open(notebook_id, Role.OWNER, "make share links").notebook
        link, text = sharing.create(notebook, by=request.user, **self.body(LinkIn))
        url = request.build_absolute_uri(reverse("share", args=[text]))
        return Response({**_link(link), "url": url}, status=201)


class LinkDetail(ApiView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, notebook_id: uuid.UUID, link_id: uuid.UUID) -> Response:
        self.open(notebook_id, Role.OWNER, "revoke share links")
        sharing.revoke(notebook_id, link_id)
        return Response(status=204)


def _link(link: ShareLink) -> Document:
    names = ("name", "role", "allows_guests", "uses")
    times = {name: getattr(link, name) for name in ("created_at", "expires_at", "last_used_at")}
    return {
        "id": str(link.pk),
        **{name: getattr(link, name) for name in names},
        **{name: time.isoformat() if time else None for name, time in times.items()},
        "is_expired": not link.is_live(timezone.now()),
    }


def _known(user_id: int) -> int:
    if user_id > MAX_ID:
        raise NotFound("There is no such member.")
    return user_id


def _member(member: Membership) -> Document:
    return {
        **_person(member.user),
        "role": member.role,
        "created_at": member.created_at.isoformat(),
        "by_link": str(member.link_id) if member.link_id else None,
    }


def _person(user: Any) -> Document:
    return {"user": user.pk, "username": user.get_username(), "name": user.get_full_name() or user.get_username()}
