"""The kernel's first file: `python .../inside/boot.py -f <connection file>`.

Prepares the process (limits, environment, sys.path), loads this folder as the package `rillbook_inside`,
and starts app.py. In the sandbox this folder alone is there, read-only.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType

PACKAGE = "rillbook_inside"


def load_package() -> ModuleType:
    """This folder as a package, without its parent on sys.path."""
    folder = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(folder, "__init__.py")
    spec = importlib.util.spec_from_file_location(PACKAGE, path, submodule_search_locations=[folder])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return package


def clean_path() -> None:
    """Imports look in the work folder first, and never in this one (its modules have everyday names)."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = ["", *(entry for entry in sys.path if entry and os.path.abspath(entry) != here)]


def main() -> None:
    clean_path()
    load_package()
    from rillbook_inside import limits  # type: ignore[import-not-found]

    limits.apply(os.environ)
    settings = limits.take_settings(os.environ)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    os.environ.setdefault("PLOTLY_RENDERER", "plotly_mimetype")
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    sys.modules.setdefault("debugpy", None)  # type: ignore[arg-type]  # 60 ms at every start, for a debugger nobody has
    from rillbook_inside import app, attempts, completion  # type: ignore[import-not-found]

    sys.modules.pop("debugpy", None)
    if cap := settings.get("RILLBOOK_OUTPUT_CAP_BYTES"):
        attempts.Attempt.text_limit_bytes = int(cap)
    sandboxed = settings.get("KERNEL_SANDBOX") == "bubblewrap"
    completion.set_cache(settings.get("KERNEL_CACHE") or ("/tmp/.jedi" if sandboxed else None))
    app.main(sys.argv[1:])


if __name__ == "__main__":
    main()
