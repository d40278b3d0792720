"""Where runtimes live. `get_host()` gives this process's host; the setting KERNEL_HOST names its class."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from kernels_app.hosts.base import KernelHost


@cache
def get_host() -> KernelHost:
    return import_string(settings.KERNEL_HOST)()
