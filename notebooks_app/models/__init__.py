"""What is stored. One module a thing; rules about one row are methods, rules about many are querysets."""

from notebooks_app.models.cell import Cell
from notebooks_app.models.change import Change
from notebooks_app.models.connection import Connection
from notebooks_app.models.idempotency import IdempotentAnswer
from notebooks_app.models.limit import AttemptCount, CacheEntry
from notebooks_app.models.member import Membership
from notebooks_app.models.notebook import Notebook
from notebooks_app.models.output import HeldPart, Output, OutputFile, StreamChunk
from notebooks_app.models.run import CellRun, Run
from notebooks_app.models.session import KernelSession
from notebooks_app.models.share import ShareLink
from notebooks_app.models.token import ApiToken
from notebooks_app.models.version import Version, VersionCell

__all__ = [
    "ApiToken",
    "AttemptCount",
    "CacheEntry",
    "Cell",
    "CellRun",
    "Change",
    "Connection",
    "HeldPart",
    "IdempotentAnswer",
    "KernelSession",
    "Membership",
    "Notebook",
    "Output",
    "OutputFile",
    "Run",
    "ShareLink",
    "StreamChunk",
    "Version",
    "VersionCell",
]
