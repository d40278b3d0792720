"""What a deployment tells the server of its surroundings: base path, proxies, a password apart from its URL, IAM."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import redis
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.core.exceptions import ImproperlyConfigured

from notebook_project import env, redis_iam
from notebook_project.proxy import client, root_path, with_proxy
from notebooks_app.probes import in_front

PEER = ("10.0.0.9", 4000)


def forwarded(*lines: str) -> dict[str, Any]:
    return {"client": PEER, "headers": [(b"x-forwarded-for", line.encode()) for line in lines]}


@pytest.mark.parametrize(
    ("lines", "proxies", "address"),
    [
        (["203.0.113.7"], 1, "203.0.113.7"),
        (["6.6.6.6, 203.0.113.7"], 1, "203.0.113.7"),
        (["6.6.6.6", "203.0.113.7, 10.0.0.1"], 2, "203.0.113.7"),
        (["2001:db8::1"], 1, "2001:db8::1"),
        (["6.6.6.6"], 0, PEER[0]),
        (["6.6.6.6"], 2, PEER[0]),
        (["not an address"], 1, PEER[0]),
        ([], 1, PEER[0]),
    ],
)
def test_only_what_trusted_proxies_appended_is_believed(lines: list[str], proxies: int, address: str) -> None:
    assert client(forwarded(*lines), proxies)[0] == address


@pytest.mark.parametrize(
    ("path", "root"), [("/rillbook/", "/rillbook"), ("/rillbook", "/rillbook"), ("/rillbooks/", ""), ("/ready", "")]
)
def test_the_base_path_ends_at_a_slash(path: str, root: str) -> None:
    assert root_path(path, "/rillbook") == root


@pytest.mark.parametrize("path", ["/health", "/rillbook/health"])
def test_probes_answer_with_and_without_the_base_path(path: str) -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("went past the probes")

    async def ask() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
        await with_proxy(in_front(never), base_path="/rillbook", proxies=0)(scope, None, send)
        return sent

    assert asyncio.run(ask())[0]["status"] == 200


@pytest.mark.parametrize("value", ["rillbook", "/a b", "//x", "/x?y", "https://example.com/x"])
def test_a_base_path_that_is_no_path_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BASE_PATH", value)
    with pytest.raises(ImproperlyConfigured, match="BASE_PATH"):
        env.env_path("BASE_PATH")


@pytest.mark.parametrize(("url_password", "used"), [("", "from the s@cret"), (":inside", "inside")])
def test_a_url_without_password_takes_database_password(
    monkeypatch: pytest.MonkeyPatch, url_password: str, used: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://rillbook{url_password}@db.example.com/rillbook")
    monkeypatch.setenv("DATABASE_PASSWORD", "from the s@cret")
    assert env.env_database("DATABASE_URL", Path("/nowhere"))["PASSWORD"] == used


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> redis_iam.IamCredentials:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-a-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-a-test")
    return redis_iam.IamCredentials("web", "rillbook-cache", "eu-central-1")


def test_an_iam_token_is_a_signed_connect_request(identity: redis_iam.IamCredentials) -> None:
    user, token = identity.get_credentials()
    address, _, query = token.partition("?")
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    assert (user, address, asked["Action"], asked["User"]) == ("web", "rillbook-cache/", "connect", "web")
    assert asked["X-Amz-Expires"] == "900" and "/eu-central-1/elasticache/" in asked["X-Amz-Credential"]
    assert identity.get_credentials() == (user, token)


def test_the_channel_layer_signs_in_with_the_iam_user(identity: redis_iam.IamCredentials, redis_server: str) -> None:
    with redis.Redis.from_url(redis_server) as admin:
        admin.execute_command("ACL", "SETUSER", "web", "on", "nopass", "~*", "&*", "+@all")

        async def send_and_receive() -> tuple[Any, list[str]]:
            layer = RedisPubSubChannelLayer(hosts=[{"address": redis_server, "credential_provider": identity}])
            channel = await layer.new_channel()
            await layer.send(channel, {"type": "wake"})
            received = await asyncio.wait_for(layer.receive(channel), 10)
            users = [each["user"] for each in admin.client_list()]
            await layer.flush()
            return received, users

        received, users = asyncio.run(send_and_receive())
    assert received == {"type": "wake"} and users.count("web") == 2  # one publishes, one is subscribed
