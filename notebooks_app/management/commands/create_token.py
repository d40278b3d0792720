"""Makes an API token and prints it, alone: `TOKEN=$(manage.py create_token me --scope edit)`."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from notebooks_app.errors import RillbookError
from notebooks_app.models import ApiToken
from notebooks_app.serializers import MAX_TOKEN_DAYS, TOKEN_NAME_MAX_LENGTH
from notebooks_app.text import clean_name


class Command(BaseCommand):
    help = "Make an API token for a user and print it. It is shown this once; the database keeps its hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="whose token it is")
        parser.add_argument("--scope", choices=ApiToken.Scope.values, default="read", help="what it may do (read)")
        parser.add_argument("--name", default="command line", help="what the list of tokens calls it")
        parser.add_argument("--expires-in-days", type=int, default=None, help="default: never")

    def handle(self, *, username: str, scope: str, name: str, expires_in_days: int | None, **options: Any) -> None:
        user = get_user_model().objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        if not user.is_active:
            raise CommandError(f"The user {username!r} is not active: no token of theirs would be accepted.")
        try:
            name = clean_name(name, max_length=TOKEN_NAME_MAX_LENGTH)
        except RillbookError as error:
            raise CommandError(error.message) from None
        _, text = ApiToken.issue(user.pk, name, scope, _expiry(expires_in_days))
        self.stdout.write(text)


def _expiry(days: int | None) -> datetime | None:
    if days is None:
        return None
    if not 1 <= days <= MAX_TOKEN_DAYS:
        raise CommandError(f"--expires-in-days must be from 1 to {MAX_TOKEN_DAYS}.")
    return timezone.now() + timedelta(days=days)
