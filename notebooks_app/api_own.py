"""The API of what is a person's own: connections and tokens. Permission, shape, status codes."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from notebooks_app import serializers, services
from notebooks_app.access import Role
from notebooks_app.api_base import ApiView
from notebooks_app.api_parameters import REFUSED, REFUSED_CHANGE
from notebooks_app.errors import BadRequest, Conflict, Forbidden, NotFound
from notebooks_app.models import ApiToken, Connection

type Document = dict[str, Any]

SCOPES = {"read": Role.VIEWER, "run": Role.RUNNER, "edit": Role.OWNER}

# --- Connections -----------------------------------------------------------------------------------------------------


class ConnectionList(ApiView):
    @extend_schema(operation_id="connections_list", responses={200: serializers.ConnectionsOut})
    def get(self, request: Request) -> Response:
        usable = Connection.objects.usable_by(request.user).order_by("name", "id")
        return Response({"connections": [_connection(item, request.user) for item in usable]})

    @extend_schema(request=serializers.ConnectionIn, responses={201: serializers.ConnectionOut, **REFUSED_CHANGE})
    def post(self, request: Request) -> Response:
        self.require_scope(Role.EDITOR, "make connections")
        body = self.body(serializers.ConnectionIn)
        connection = Connection(owner=request.user, name=body["name"])
        save_connection(connection, body["dsn"])
        return Response(_connection(connection, request.user), status=201)


class ConnectionDetail(ApiView):
    @extend_schema(responses={200: serializers.ConnectionOut, **REFUSED})
    def get(self, request: Request, connection_id: uuid.UUID) -> Response:
        connection = Connection.objects.usable_by(request.user).filter(pk=connection_id).first()
        if connection is None:
            raise NotFound("There is no such connection.")
        return Response(_connection(connection, request.user))

    @extend_schema(request=serializers.ConnectionPatch, responses={200: serializers.ConnectionOut, **REFUSED_CHANGE})
    def patch(self, request: Request, connection_id: uuid.UUID) -> Response:
        connection = self._own(connection_id, "change connections")
        body = self.body(serializers.ConnectionPatch)
        if not body:
            raise BadRequest("name: nothing to change was given; known are dsn, name.")
        connection.name = body.get("name", connection.name)
        save_connection(connection, body.get("dsn"))
        return Response(_connection(connection, request.user))

    @extend_schema(responses={204: None, **REFUSED})
    def delete(self, request: Request, connection_id: uuid.UUID) -> Response:
        connection = self._own(connection_id, "delete connections")
        services.delete_connection(connection, author=self.author())
        return Response(status=204)

    def _own(self, connection_id: uuid.UUID, what: str) -> Connection:
        connection = Connection.objects.usable_by(self.request.user).filter(pk=connection_id).first()
        if connection is None:
            raise NotFound("There is no such connection.")
        self.require_scope(Role.EDITOR, what)
        if connection.owner_id != self.request.user.pk:
            raise Forbidden("This connection was made by an operator for everyone; you can only use it.")
        return connection


def save_connection(connection: Connection, dsn: str | None) -> None:
    """Raises BadRequest naming the wrong part of the DSN (never its password), Conflict for a name that is taken."""
    try:
        if dsn is not None:
            connection.set_dsn(dsn)
    except ValueError as error:
        raise BadRequest(f"dsn: {error}") from None
    try:
        with transaction.atomic():
            connection.save()
    except IntegrityError:
        raise Conflict("You have a connection of this name already.") from None


def _connection(connection: Connection, reader: Any) -> Document:
    """Where an operator's connection leads only operators are told."""
    is_shown = connection.owner_id == reader.pk or reader.is_staff
    return {
        "id": str(connection.pk),
        "name": connection.name,
        "driver": connection.driver,
        "address": connection.address() if is_shown else f"{connection.driver}://…",
        "refused": connection.refusal(),
        "shared": connection.owner_id is None,
        "created_at": connection.created_at.isoformat(),
        "updated_at": connection.updated_at.isoformat(),
    }


# --- Tokens ----------------------------------------------------------------------------------------------------------


class TokenList(ApiView):
    answers_secret = True

    @extend_schema(operation_id="tokens_list", responses={200: serializers.TokensOut})
    def get(self, request: Request) -> Response:
        tokens = ApiToken.objects.filter(user=request.user).order_by("id")
        return Response({"tokens": [_token(token) for token in tokens]})

    @extend_schema(request=serializers.TokenIn, responses={201: serializers.TokenMade, **REFUSED})
    def post(self, request: Request) -> Response:
        body = self.body(serializers.TokenIn)
        self.require_scope(SCOPES[body["scope"]], "make a token of that scope")
        days = body.get("expires_in_days")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        if isinstance(request.auth, ApiToken) and request.auth.expires_at:
            expires_at = min(expires_at or request.auth.expires_at, request.auth.expires_at)
        token, text = ApiToken.issue(request.user.pk, body["name"], body["scope"], expires_at)
        return Response({**_token(token), "token": text}, status=201)


class TokenDetail(ApiView):
    @extend_schema(request=serializers.TokenPatch, responses={200: serializers.TokenOut, **REFUSED})
    def patch(self, request: Request, token_id: int) -> Response:
        token = self._own(token_id)
        self.require_scope(SCOPES[token.scope], "rename that token")
        token.name = self.body(serializers.TokenPatch)["name"]
        token.save(update_fields=["name"])
        return Response(_token(token))

    def _own(self, token_id: int) -> ApiToken:
        found = ApiToken.objects.filter(user=self.request.user, pk=min(token_id, serializers.MAX_SEQ)).first()
        if found is None:
            raise NotFound("There is no such token.")
        return found

    @extend_schema(responses={204: None, **REFUSED})
    def delete(self, request: Request, token_id: int) -> Response:
        if token_id > serializers.MAX_SEQ:
            raise NotFound("There is no such token.")
        token = ApiToken.objects.filter(user=request.user, pk=token_id).first()
        if token is None:
            raise NotFound("There is no such token.")
        self.require_scope(SCOPES[token.scope], "delete that token")
        token.delete()
        return Response(status=204)


def _token(token: ApiToken) -> Document:
    return {
        "id": token.pk,
        "name": token.name,
        "scope": token.scope,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        "last_used_at": token.last_used_at.isoformat() if token.last_used_at else None,
    }
