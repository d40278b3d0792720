"""A named database that SQL cells may query. Its DSN is encrypted; only the broker ever sees it in the clear."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q

from notebooks_app.models.member import Membership

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def usable_by(self, user: AbstractBaseUser) -> ConnectionQuerySet:
        """The person's own and those an operator shares with all."""
        return self.filter(Q(owner_id=user.pk) | Q(owner=None))

    def usable_in(self, notebook_id: uuid.UUID | str) -> ConnectionQuerySet:
        """Those of an operator, and of people who may (still) write this notebook."""
        writers = Membership.objects.live().filter(notebook_id=notebook_id, role=Membership.Role.EDITOR)
        is_writers = Q(owner__notebooks=notebook_id) | Q(owner__in=writers.values("user"))
        return self.filter(Q(owner=None) | Q(owner__is_active=True) & is_writers).distinct()


class Connection(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # None: shared with everyone by an operator.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="connections"
    )
    name = models.CharField(max_length=100)
    driver = models.CharField(max_length=20)
    secret = models.BinaryField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="connection_name_unique_for_owner"),
        ]

    def __str__(self) -> str:
        return self.name

    def set_dsn(self, dsn: str) -> None:
        """Check the DSN and keep it encrypted. Raises ValueError naming what is wrong; never holds the plain text."""
        from notebooks_app import connections

        parsed = connections.parse_dsn(dsn, operator=self.owner_id is None)
        self.driver = parsed.driver
        self.secret = connections.encrypt(dsn, str(self.id).encode())

    def keep_dsn(self, dsn: str) -> None:
        """Keep the DSN encrypted, whatever it says: what an import brings is not lost. One that is refused is never
        used (`usable_dsn`).
        """
        from notebooks_app import connections

        try:
            self.set_dsn(dsn)
        except ValueError:
            self.driver = connections.REFUSED
            self.secret = connections.encrypt(dsn, str(self.id).encode())

    def dsn(self) -> str:
        """The plain DSN as it was kept, to be compared and exported: it may be one that is refused."""
        from notebooks_app import connections

        return connections.decrypt(bytes(self.secret), str(self.id).encode())

    def usable_dsn(self) -> str:
        """The plain DSN, for the broker alone. Raises ValueError as set_dsn for one that is refused."""
        from notebooks_app import connections

        dsn = self.dsn()
        connections.validate_dsn(dsn, operator=self.owner_id is None)
        return dsn

    def refusal(self) -> str:
        """Why it is never used, in words without its secrets; "" where it is, and where its key is gone."""
        from notebooks_app.crypto import DecryptionError

        try:
            self.usable_dsn()
        except DecryptionError:
            return ""
        except ValueError as error:
            return str(error)
        return ""

    def address(self) -> str:
        """The DSN without its password, for people; the driver alone where its key is gone."""
        from notebooks_app import connections
        from notebooks_app.crypto import DecryptionError

        try:
            return connections.mask(self.dsn(), operator=self.owner_id is None)
        except DecryptionError:
            return f"{self.driver}://…"
