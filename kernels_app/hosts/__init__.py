"""Where runtimes live. `get_host()` gives this process's host; the setting KERNEL_HOST says which it is."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from kernels_app.hosts.base import KernelHost

# Imported when asked for: a server of one machine needs no Ray.
CLASSES = {"local": "kernels_app.hosts.local.LocalKernelHost", "ray": "kernels_app.hosts.ray.RayKernelHost"}


@cache
def get_host() -> KernelHost:
    return import_string(CLASSES[settings.KERNEL_HOST])()
