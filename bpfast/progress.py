"""One line that tells how a fit goes: epoch, loss, samples per second, time left."""

import sys
import time

import numpy as np

REFRESH = 0.1  # seconds


class Progress:
    """Writes to standard error: a line that is rewritten on a terminal, a line per epoch elsewhere if asked for.

    ``verbose``: True, False, or "auto": only on a terminal.
    """

    def __init__(self, verbose, epochs, rows):
        if not (verbose == "auto" or isinstance(verbose, (bool, int, np.bool_))):
            raise ValueError(f'verbose must be True, False or "auto", got {verbose!r}')
        self._stream, self._epochs, self._rows = sys.stderr, epochs, rows
        asked = bool(verbose) and self._stream is not None and not getattr(self._stream, "closed", False)
        self._live = asked and getattr(self._stream, "isatty", bool)()
        self._lines = asked and verbose != "auto"
        self._begin = self._shown = time.monotonic()
        self._unended = False
        self._prefix = ""
        self._done = 0  # epochs

    def restart(self, number, of):
        """The fit begins again with other weights: the number-th time of so many, counted from 1."""
        self._prefix = f"restart {number}/{of}  "
        self._done = 0
        self._begin = time.monotonic()

    def note(self, text):
        """A line of its own, where there are lines."""
        if self._lines:
            self._rewrite(f"{self._prefix}{text}\n")

    def rows_done(self, rows, history):
        """So many rows of an epoch have been learned from; ``history`` holds the epochs before."""
        if self._live:
            self._refresh(rows, history.last)

    def epoch_done(self, figures):
        """An epoch is finished with these figures."""
        if self._lines:
            self._rewrite(self._line(self._rows, time.monotonic(), figures) + "\n")
        elif self._live and self._done + 1 == self._epochs:
            self._rewrite(self._line(self._rows, time.monotonic(), figures))
        elif self._live:
            self._refresh(self._rows, figures)
        self._done += 1

    def close(self):
        """End the line, so that what follows begins on one of its own."""
        if self._unended:
            self._write("\n")

    def _refresh(self, rows, figures):
        now = time.monotonic()
        if now - self._shown > REFRESH:
            self._shown = now
            self._rewrite(self._line(rows, now, figures))

    def _line(self, rows, now, figures):
        """Of the first epoch that is not done."""
        done = self._done * self._rows + rows
        rate = done / max(now - self._begin, 1e-9)
        left = (self._epochs * self._rows - done) / max(rate, 1e-9)
        shown = "  ".join(f"{name} {value:#.4g}" for name, value in figures.items() if name != "seconds")
        number = f"{self._done + 1:>{len(str(self._epochs))}}/{self._epochs}"
        return f"{self._prefix}epoch {number}  {shown}  {rate:,.0f} samples/s  {left:.1f} s left"

    def _rewrite(self, text):
        self._unended = not text.endswith("\n")
        self._write(f"\r\033[K{text}" if self._live else text)

    def _write(self, text):
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # nobody looks on any more; training goes on
            self._live = self._lines = self._unended = False
