"""Every address the server answers, but /health, /ready and /metrics (notebooks_app/probes.py). Wiring only."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from kernels_app import api as kernels_api
from notebooks_app import (
    api,
    api_batch,
    api_cells,
    api_history,
    api_members,
    api_own,
    api_schema,
    views,
    views_account,
    views_bin,
    views_share,
)
from notebooks_app.authentication import or_token

# Operators sign in where everybody does: the admin's own form knows no second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
# And choose passwords there: the admin's own form counts no attempts.
admin.site.password_change = RedirectView.as_view(pattern_name="account_change_password")  # type: ignore[assignment]

api_patterns = [
    path("notebooks/", api.NotebookList.as_view(), name="api_notebooks"),
    path("notebooks/<uuid:notebook_id>/", api.NotebookDetail.as_view(), name="api_notebook"),
    path("notebooks/<uuid:notebook_id>/name/", api.NotebookName.as_view(), name="api_notebook_name"),
    path("notebooks/<uuid:notebook_id>/db/", api.NotebookDatabase.as_view(), name="api_notebook_db"),
    path("notebooks/<uuid:notebook_id>/cells/", api_cells.CellList.as_view(), name="api_cells"),
    path("notebooks/<uuid:notebook_id>/cells/<uuid:cell_id>/", api_cells.CellDetail.as_view(), name="api_cell"),
    path("notebooks/<uuid:notebook_id>/cells/<uuid:cell_id>/move/", api_cells.CellMove.as_view(), name="api_cell_move"),
    path(
        "notebooks/<uuid:notebook_id>/cells/<uuid:cell_id>/outputs/",
        api_cells.CellOutputs.as_view(),
        name="api_cell_outputs",
    ),
    path("notebooks/<uuid:notebook_id>/batch/", api_batch.Batch.as_view(), name="api_batch"),
    path("notebooks/<uuid:notebook_id>/changes/", api.ChangeList.as_view(), name="api_changes"),
    path("notebooks/<uuid:notebook_id>/undo/", api.Undo.as_view(), name="api_undo"),
    path("notebooks/<uuid:notebook_id>/runs/", kernels_api.RunList.as_view(), name="api_runs"),
    path("notebooks/<uuid:notebook_id>/runs/<uuid:run_id>/", kernels_api.RunDetail.as_view(), name="api_run"),
    path(
        "notebooks/<uuid:notebook_id>/runs/<uuid:run_id>/cancel/",
        kernels_api.RunCancel.as_view(),
        name="api_run_cancel",
    ),
    path("notebooks/<uuid:notebook_id>/stop/", kernels_api.Stop.as_view(), name="api_stop"),
    path("notebooks/<uuid:notebook_id>/interrupt/", kernels_api.Stop.as_view(), name="api_interrupt"),
    path("notebooks/<uuid:notebook_id>/restart/", kernels_api.Restart.as_view(), name="api_restart"),
    path("notebooks/<uuid:notebook_id>/kernel/", kernels_api.Kernel.as_view(), name="api_kernel"),
    path("notebooks/<uuid:notebook_id>/members/", api_members.MemberList.as_view(), name="api_members"),
    path(
        "notebooks/<uuid:notebook_id>/members/<int:user_id>/",
        api_members.MemberDetail.as_view(),
        name="api_member",
    ),
    path("notebooks/<uuid:notebook_id>/links/", api_members.LinkList.as_view(), name="api_links"),
    path("notebooks/<uuid:notebook_id>/links/<uuid:link_id>/", api_members.LinkDetail.as_view(), name="api_link"),
    path("notebooks/<uuid:notebook_id>/versions/", api_history.VersionList.as_view(), name="api_versions"),
    path(
        "notebooks/<uuid:notebook_id>/versions/<uuid:version_id>/",
        api_history.VersionDetail.as_view(),
        name="api_version",
    ),
    path(
        "notebooks/<uuid:notebook_id>/versions/<uuid:version_id>/diff/",
        api_history.VersionDifference.as_view(),
        name="api_version_diff",
    ),
    path(
        "notebooks/<uuid:notebook_id>/versions/<uuid:version_id>/restore/",
        api_history.VersionRestore.as_view(),
        name="api_version_restore",
    ),
    path("notebooks/<uuid:notebook_id>/history/", api_history.History.as_view(), name="api_history"),
    path("notebooks/<uuid:notebook_id>/history/mine/", api_history.Undoable.as_view(), name="api_undoable"),
    path("notebooks/<uuid:notebook_id>/bin/", api_history.CellBin.as_view(), name="api_cell_bin"),
    path(
        "notebooks/<uuid:notebook_id>/bin/restore/",
        api_history.CellBinRestore.as_view(),
        name="api_cell_bin_restore",
    ),
    path("bin/", api_history.NotebookBin.as_view(), name="api_bin"),
    path("bin/<uuid:notebook_id>/", api_history.NotebookBinDetail.as_view(), name="api_bin_notebook"),
    path("bin/<uuid:notebook_id>/restore/", api_history.NotebookBinRestore.as_view(), name="api_bin_restore"),
    path("connections/", api_own.ConnectionList.as_view(), name="api_connections"),
    path("connections/<uuid:connection_id>/", api_own.ConnectionDetail.as_view(), name="api_connection"),
    path("tokens/", api_own.TokenList.as_view(), name="api_tokens"),
    path("tokens/<int:token_id>/", api_own.TokenDetail.as_view(), name="api_token"),
    path("schema/", api_schema.Schema.as_view(), name="api_schema"),
    path("", api.Unknown.as_view()),
    path("<path:rest>", api.Unknown.as_view()),
]

urlpatterns = [
    path("", views.home, name="home"),
    path("notebooks/new/", views.notebook_create, name="notebook_create"),
    path("notebooks/import/", views.notebook_import, name="notebook_import"),
    path("notebooks/<uuid:notebook_id>/", views_bin.notebook, name="notebook"),
    path("notebooks/<uuid:notebook_id>/rename/", views.notebook_rename, name="notebook_rename"),
    path("notebooks/<uuid:notebook_id>/delete/", views.notebook_delete, name="notebook_delete"),
    path("notebooks/<uuid:notebook_id>/export/", views.notebook_export, name="notebook_export"),
    path("notebooks/<uuid:notebook_id>/reset/", views.demo_reset, name="demo_reset"),
    path("bin/", views_bin.bin_list, name="bin"),
    path("bin/<uuid:notebook_id>/restore/", views_bin.restore, name="bin_restore"),
    path("bin/<uuid:notebook_id>/delete/", views_bin.delete_for_ever, name="bin_delete"),
    path("outputs/<uuid:notebook_id>/<uuid:file_id>/", or_token(views.output_file), name="output_file"),
    path("frame/", views.output_frame, name="output_frame"),
    path("share/", views_share.waiting, name="share_waiting"),
    path("share/<str:token>/", views_share.open_link, name="share"),
    path("welcome/<str:key>/", views.welcome, name="welcome"),
    path("accounts/email/", views_account.OwnAddresses.as_view(), name="account_email"),
    path("accounts/", include("allauth.urls")),
    path("api/v1/", include(api_patterns)),
    path("admin/", admin.site.urls),
]
handler400 = "notebooks_app.views.bad_request"
