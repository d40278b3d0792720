"""The IPython shell of a notebook's kernel: no history, no `Out`, no `_`; our display, errors, input and
completion.
"""

from __future__ import annotations

import builtins
import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ipykernel.zmqshell import ZMQInteractiveShell
from traitlets import Type

from . import attempts, completion, display, errors, interrupt


class Shell(ZMQInteractiveShell):
    """ZMQInteractiveShell as a reactive notebook needs it."""

    displayhook_class = Type(display.ResultHook)  # type: ignore[assignment]
    display_pub_class = Type(display.Publisher)

    def init_display_formatter(self) -> None:
        self.display_formatter = display.Formatter(parent=self)
        self.configurables.append(self.display_formatter)  # type: ignore[arg-type]

    def init_completer(self) -> None:
        self.Completer = completion.Completer(
            shell=self, namespace=self.user_ns, global_namespace=self.user_global_ns, parent=self
        )
        self.configurables.append(self.Completer)  # type: ignore[arg-type]

    def init_logstart(self) -> None:
        """No log of inputs."""

    def set_parent(self, parent: Any) -> None:
        """Output knows its attempt; only the request itself is kept, for what else asks."""
        self.parent_header = parent

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        """Errors in code that a magic runs for the cell: an error entry, and the cell has failed."""
        error = exc_tuple[1] if exc_tuple and exc_tuple[1] is not None else self._get_exc_info()[1]
        attempt = attempts.current()
        attempt.failed = True
        attempt.pump()
        attempts.writer().push(errors.entry(error, attempt.id))

    def showsyntaxerror(self, *args: Any, **kwargs: Any) -> None:
        self.showtraceback()

    def system(self, cmd: str) -> None:
        """`!command`: as IPython does it, but an interrupt ends the cell and not the command alone."""
        with _interrupt_ends_the_cell():
            super().system_piped(cmd)

    def getoutput(self, *args: Any, **kwargs: Any) -> Any:
        """`x = !command`, with the same rule."""
        with _interrupt_ends_the_cell():
            return super().getoutput(*args, **kwargs)

    def payloadpage_page(self, strg: Any, *args: Any, **kwargs: Any) -> None:
        """`name?` and other paged text: shown as output of the cell."""
        display.publish(strg if isinstance(strg, dict) else {"text/plain": str(strg)})

    def set_next_input(self, text: str, replace: bool = False) -> None:
        """Magics do not write cells."""

    def ask_exit(self) -> None:
        refuse_exit()

    def install_builtins(self, kernel: Any) -> None:
        """Give all code `display`, `get_ipython`, `input`, and an `exit` that explains itself."""
        from IPython.display import display as show

        builtins.display = show  # type: ignore[attr-defined]
        builtins.get_ipython = self.get_ipython  # type: ignore[attr-defined]
        builtins.exit = builtins.quit = refuse_exit  # type: ignore[assignment]
        builtins.input = kernel.raw_input
        getpass.getpass = kernel.getpass


@contextmanager
def _interrupt_ends_the_cell() -> Iterator[None]:
    """An interrupt that IPython turned into the command's end, or (hit before the command's process was there)
    into an error of its own, is raised after all.
    """
    before = interrupt.count()
    try:
        yield
    except Exception:
        if interrupt.count() == before:
            raise
    if interrupt.count() != before:
        raise KeyboardInterrupt


def refuse_exit(*_args: Any) -> None:
    """`exit()` and `quit()` in a cell."""
    message = (
        "A cell cannot end the kernel. Use Stop to stop this run, or Restart to start the kernel afresh."
    )
    raise errors.Refused(message)
