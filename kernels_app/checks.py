"""System checks: multi-user mode without a sandbox is refused, what it does not stop is said; settings of a cluster."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from kernels_app import cluster, sandbox, uids
from kernels_app.sandbox import Rung

OPEN_SOCKETS = (
    "Multi mode with KERNEL_NETWORK=true needs bubblewrap, or a server that is root: behind Landlock alone, kernels of "
    "one uid that may connect at all reach each other's sockets."
)
INSTALL = (
    "Install bubblewrap and allow unprivileged user namespaces, or run on Linux 6.12 with Landlock (docs/security.md). "
    "RILLBOOK_ALLOW_UNSANDBOXED=true is for a server whose every user may do all that it can."
)


def refusal() -> str:
    """Why kernels are not started here at all, in a sentence; "" if they are."""
    try:
        rung = sandbox.available(settings.KERNEL_SANDBOX, settings.KERNEL_PYTHON)
    except sandbox.Untried as error:
        return str(error)
    if settings.RILLBOOK_MODE != "multi" or settings.RILLBOOK_ALLOW_UNSANDBOXED:
        return ""
    if rung is Rung.LANDLOCK and settings.KERNEL_NETWORK and not uids.can_give():
        return OPEN_SOCKETS
    if rung is not Rung.NONE:
        return ""
    words = sandbox.describe(settings.KERNEL_SANDBOX, settings.KERNEL_PYTHON)
    return f"Multi mode needs a sandbox for kernels. {words}"


@register(deploy=True)  # it tries the walls: for check --deploy alone; `serve` asks refusal() itself
def many_users_need_a_sandbox(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.KERNEL_HOST != "local":  # kernels of a cluster start on its nodes, which ask by themselves
        return []
    words = refusal()
    return [Error(words, hint=INSTALL, id="rillbook.E010")] if words else []


@register()
def a_cluster_can_be_reached(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Of settings alone; whether the cluster answers is the start's and `doctor`'s to say."""
    words = cluster.refusals() if settings.KERNEL_HOST == "ray" else []
    return [Error(each, hint="docs/cluster.md, Settings.", id="rillbook.E011") for each in words]


@register(deploy=True)
def what_the_sandbox_stops(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """`manage.py check --deploy`: a weaker rung is a warning, with the sentences that begin with Not."""
    if settings.KERNEL_HOST != "local" or refusal():
        return []
    found = sandbox.available(settings.KERNEL_SANDBOX, settings.KERNEL_PYTHON)
    words = sandbox.describe(settings.KERNEL_SANDBOX, settings.KERNEL_PYTHON)
    if found is Rung.BUBBLEWRAP:
        return []
    return [Warning(words, hint=" ".join([*weak_points(), INSTALL]), id="rillbook.W010")]


def weak_points() -> list[str]:
    """What the walls of this server do not stop, a plain sentence each."""
    return [line for line in lines() if line.startswith("Not ")]


def lines() -> list[str]:
    """What stands between a kernel of this server and its machine, a plain sentence each."""
    return sandbox.protections(
        settings.KERNEL_SANDBOX,
        network=settings.KERNEL_NETWORK,
        python=settings.KERNEL_PYTHON,
        use_cgroups=settings.KERNEL_CGROUPS,
        cpus=settings.KERNEL_CPUS,
    )
