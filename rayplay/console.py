"""What a person sees while a run works: one progress bar a stage on a terminal, one line a stage in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rayplay.sinks import for_line, for_terminal


class Bar:
    """Progress of one stage."""

    def __init__(self, progress: Progress | None, task_id: int | None, console: Console, what: str, total: int) -> None:
        self._progress, self._task_id, self._console = progress, task_id, console
        self._what, self._total, self._done = what, total, 0
        self._started = self._last_line = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move on; `note` stands behind the bar (a loss, a count)."""
        self._done += steps
        if self._progress is not None:
            self._progress.update(self._task_id, completed=self._done, note=for_line(note))
        elif time.monotonic() - self._last_line > 20:  # a log wants a sign of life, not a bar
            self._last_line = time.monotonic()
            left = (self._last_line - self._started) / max(self._done, 1) * (self._total - self._done)
            self._console.print(
                Text(for_line(f"  {self._what}: {self._done}/{self._total}, about {left:.0f} s left  {note}"))
            )


class Say:
    """Prints stages; quiet about everything else."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.seconds: dict[str, float] = {}

    def take_seconds(self, prefix: str) -> dict[str, float]:
        """Seconds of the stages whose name begins with `prefix`, and forget them."""
        names = [name for name in self.seconds if name.partition("/")[0] in (prefix, "publish")]
        return {name.rpartition("/")[2]: self.seconds.pop(name) for name in names}

    def line(self, text: str) -> None:
        """One line."""
        self.console.print(Text(for_terminal(text)))

    @contextmanager
    def stage(self, name: str, what: str, total: int, expect: str = "") -> Iterator[Bar]:
        """A stage with a bar; its seconds are kept under `name`."""
        started = time.monotonic()
        label = for_line(f"{name:<10} {what}" + (f" ({expect})" if expect else ""))
        if self.console.is_terminal:
            columns = (
                *(SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=24)),
                *(MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()),
                TextColumn("{task.fields[note]}", style="dim", markup=False),
            )
            with Progress(*columns, console=self.console, transient=True) as progress:
                yield Bar(progress, progress.add_task(label, total=total, note=""), self.console, what, total)
        else:
            self.line(f"{label} ...")
            yield Bar(None, None, self.console, what, total)
        spent = time.monotonic() - started
        self.seconds[name] = self.seconds.get(name, 0.0) + spent
        self.line(f"{name:<10} {what}: {spent:.0f} s")
