"""`rill_call_request`: the small questions the server asks while cells run or rest.

Each call is a function of the request's content; its result is the reply's content. They run on the control
thread or a subshell, beside the cells, so they only look, or change what no running cell is reading.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import attempts, display, errors
from .namespace import Namespace
from .variables import describe

Content = dict[str, Any]


class Calls:
    """The calls of one kernel, by name."""

    def __init__(self, shell: Any, namespace: Namespace) -> None:
        self._shell = shell
        self._namespace = namespace
        self._by_name: dict[str, Callable[[Content], Content]] = {
            "forget": self._forget,
            "load": self._load,
            "ping": lambda content: {},
            "table": self._table,
            "unload": self._unload,
            "values": self._values,
            "variables": self._variables,
        }

    def answer(self, content: Content) -> Content:
        """The content of the reply. A call that fails is an error in it, never an exception here."""
        call = self._by_name.get(str(content.get("call")))
        if call is None:
            return {
                "status": "error",
                "ename": "UnknownCall",
                "evalue": f"There is no call {content.get('call')!r}.",
            }
        try:
            return {"status": "ok", **call(content)}
        except Exception as error:
            entry = errors.entry(error, None)
            return {"status": "error", "ename": entry["ename"], "evalue": entry["evalue"]}

    def _unload(self, content: Content) -> Content:
        self._namespace.unload(list(content["names"]))
        return {}

    def _values(self, content: Content) -> Content:
        """The values of SQL parameters, encoded as parameters.py says; an error names the parameter it is
        about.
        """
        from .parameters import encode

        values: Content = {}
        for name in content["names"]:
            if name not in self._shell.user_ns:
                raise NameError(f"The parameter {{{name}}} has no value: no cell that ran defines {name}.")
            values[name] = encode(name, self._shell.user_ns[name])
        return {"values": values}

    def _load(self, content: Content) -> Content:
        """Bind the rows of an Arrow file in the work folder to `name`, and show them under `attempt`."""
        from .duck import read_result

        path = Path(content["file"])
        frame = read_result(os.fspath(display.work_folder() / path))
        attempt = attempts.Attempt(content["attempt"], content["cell"], int(content["number"]))
        token = attempts.attribute(attempt)
        try:
            if content.get("name"):
                self._namespace.bind(content["cell"], content["name"], frame)
            display.show_result(self._shell, frame)
        finally:
            attempts.unattribute(token)
        attempt.pump()
        attempts.writer().flush()
        return {"rows": len(frame)}

    def _table(self, content: Content) -> Content:
        from . import tables

        options = {
            key: content[key] for key in ("offset", "limit", "sort", "search") if content.get(key) is not None
        }
        return {"table": tables.page(content["handle"], **options)}

    def _forget(self, content: Content) -> Content:
        from . import tables

        return {"forgotten": tables.forget(content["attempts"])}

    def _variables(self, _content: Content) -> Content:
        return {"variables": describe(self._namespace)}
