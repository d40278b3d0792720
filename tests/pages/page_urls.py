"""Addresses with the names the templates use, for tests that draw templates without the views behind them."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def _nothing(request: HttpRequest, **kwargs: object) -> HttpResponse:
    return HttpResponse()


_NAMES = ("home", "bin", "notebook_create", "notebook_import", "output_frame", "account_login", "account_logout")
_OF_A_NOTEBOOK = ("notebook", "notebook_rename", "notebook_delete", "demo_reset")

urlpatterns = [
    *[
        path(f"{name}/", _nothing, name=name)
        for name in (*_NAMES, "account_signup", "account_reset_password")
    ],
    *[path(f"{name}/<str:notebook_id>/", _nothing, name=name) for name in _OF_A_NOTEBOOK],
    path("admin/", include(([path("", _nothing, name="index")], "admin"))),
]
