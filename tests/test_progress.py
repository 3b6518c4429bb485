"""How a fit shows where it is."""

import io
import sys

from samples import small_trainer


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_in_a_pipe(backend, rows, capsys):
    """Silent, unless asked: then a line per epoch."""
    small_trainer(backend).fit(*rows, epochs=2)
    small_trainer(backend).fit(*rows, epochs=2, verbose=False)
    assert capsys.readouterr() == ("", "")
    small_trainer(backend).fit(*rows, epochs=12, validation=rows, verbose=True)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 12
    assert lines[0].startswith("epoch  1/12") and lines[-1].startswith("epoch 12/12")
    assert all("loss " in line and "val_accuracy " in line and "samples/s" in line for line in lines)
    assert "\r" not in err and "\033" not in err


def test_progress_on_a_terminal(backend, rows, monkeypatch):
    """One line that is rewritten, and ended at last; nothing with verbose=False."""
    monkeypatch.setattr("bpfast.progress.REFRESH", -1)
    for verbose, shown in (("auto", True), (True, True), (False, False)):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        small_trainer(backend).fit(*rows, epochs=3, verbose=verbose)
        text = terminal.getvalue()
        assert bool(text) == shown
        if shown:
            assert "\r\033[K" in text and "epoch 3/3" in text and text.endswith("\n")


def test_no_standard_error(rows, monkeypatch):
    """As under pythonw: there is none."""
    monkeypatch.setattr(sys, "stderr", None)
    small_trainer().fit(*rows, epochs=1, verbose="auto")
