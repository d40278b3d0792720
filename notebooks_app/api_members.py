"""The API of a notebook's members: for its owner; a member may leave. Rules are in members.py."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers as drf
from rest_framework.request import Request
from rest_framework.response import Response

from notebooks_app import members, serializers
from notebooks_app.access import Role
from notebooks_app.api_base import ApiView
from notebooks_app.errors import NotFound
from notebooks_app.models import Membership

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


class MembersOut(drf.Serializer[Any]):
    owner = PersonOut()
    members = MemberOut(many=True)


class MemberList(ApiView):
    @extend_schema(operation_id="members_list", responses={200: MembersOut})
    def get(self, request: Request, notebook_id: uuid.UUID) -> Response:
        notebook = self.open(notebook_id, Role.OWNER, "see its members").notebook
        found = Membership.objects.filter(notebook_id=notebook_id).select_related("user").order_by("created_at", "id")
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
        members.remove(notebook_id, _known(user_id))
        return Response(status=204)


def _known(user_id: int) -> int:
    if user_id > MAX_ID:
        raise NotFound("There is no such member.")
    return user_id


def _member(member: Membership) -> Document:
    return {**_person(member.user), "role": member.role, "created_at": member.created_at.isoformat()}


def _person(user: Any) -> Document:
    return {"user": user.pk, "username": user.get_username(), "name": user.get_full_name() or user.get_username()}
