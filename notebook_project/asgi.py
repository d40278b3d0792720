"""The ASGI application: pages and API by Django, sockets by Channels, the kernels' host beside them."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notebook_project.settings")
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402  needs the applications loaded
from channels.security.websocket import WebsocketDenier  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from kernels_app.consumers import NotebookConsumer  # noqa: E402
from kernels_app.lifecycle import with_host  # noqa: E402
from kernels_app.origin import ExactOrigin  # noqa: E402
from kernels_app.socket_sessions import with_person  # noqa: E402
from notebook_project.proxy import with_proxy  # noqa: E402
from notebooks_app.middleware import with_facts  # noqa: E402
from notebooks_app.probes import in_front  # noqa: E402

routes = [
    path("ws/notebooks/<uuid:notebook_id>/", with_facts(NotebookConsumer.as_asgi())),
    re_path("", WebsocketDenier.as_asgi()),  # 403: else each unknown address is an error with its traceback
]
sockets = ExactOrigin(with_person(URLRouter(routes)))
application = with_proxy(
    with_host(ProtocolTypeRouter({"http": in_front(django_application), "websocket": sockets})),
    base_path=settings.BASE_PATH,
    proxies=settings.PROXY_COUNT,
)
