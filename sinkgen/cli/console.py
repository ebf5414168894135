"""What the user sees beside results: errors and warnings of one line, and the progress of a fit. All on stderr."""

import warnings
from contextlib import contextmanager, suppress

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

INTERRUPTED = 130


class Refused(Exception):
    """A mistake of the user's, or something that is not done; its text is one line and holds no data."""


def say(text):
    """Tell the user one line, if anybody still reads."""
    with suppress(OSError):
        typer.echo(text, err=True)


class LastingConsole(Console):
    """A console that falls silent where nobody reads it any more, instead of ending the program."""

    def on_broken_pipe(self):
        """What rich calls then."""
        self.quiet = True


class OneLineErrors(TyperGroup):
    """Commands whose errors are one line on stderr: exit code 1 for what is refused, 2 for wrong usage."""

    def main(self, *args, **extra):
        """Run; never show a traceback, which may hold data."""
        with _own_warnings_only():
            try:
                code = super().main(*args, **extra | {"standalone_mode": False})
            except Exception as error:
                say(f"sinkgen: {_in_one_line(error)}")
                code = getattr(error, "exit_code", 1)
            except KeyboardInterrupt:
                code = INTERRUPTED
        raise SystemExit(code if isinstance(code, int) else 0)


def _in_one_line(error):
    from sinkgen.exceptions import DataFreeError

    if hasattr(error, "format_message"):  # usage
        command = getattr(getattr(error, "ctx", None), "command_path", "sinkgen")
        return " ".join(f"{error.format_message()} Try: {command} --help".split())
    if isinstance(error, (Refused, DataFreeError)):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    # Another library's message may quote a cell.
    return f"unexpected {type(error).__name__}; call the same from Python for the details, which may show data"


@contextmanager
def _own_warnings_only():
    from sinkgen.exceptions import PoorFitWarning, PrivacyLeakWarning, ReproducibleNoiseWarning

    def show(message, category, *_, **__):
        say(f"sinkgen: warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for category in (PoorFitWarning, PrivacyLeakWarning, ReproducibleNoiseWarning):
            warnings.simplefilter("always", category)
        warnings.showwarning = show
        yield


@contextmanager
def progress_bar(epsilon, quiet):
    """Give a callback that draws a fit's progress: stage, step, time left, budget spent so far.

    Parameters
    ----------
    epsilon : float
        Of the whole fit.
    quiet : bool
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("epsilon {task.fields[spent]} of {task.fields[budget]} spent"),
    )  # fmt: skip
    progress = Progress(*columns, console=LastingConsole(stderr=True), disable=quiet)
    tasks = {}

    def show(state):
        if state.what not in tasks:
            progress.start()
            tasks[state.what] = progress.add_task(state.what, total=state.steps, spent="0", budget=f"{epsilon:g}")
        progress.update(tasks[state.what], completed=state.step, spent=f"{state.epsilon:.3g}")

    try:
        yield show
    finally:
        if tasks:
            with suppress(OSError):
                progress.stop()
