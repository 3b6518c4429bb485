"""A History: arrays per quantity, an entry per epoch."""

import copy
import pickle
import sys

import numpy as np
import pytest

import bpfast as bp


@pytest.fixture
def history():
    history = bp.History()
    history.append(loss=2.0, seconds=0.5)
    history.append(loss=np.float32(1.5), seconds=0.25, val_loss=1.75)
    return history


def test_arrays(history):
    np.testing.assert_array_equal(history["loss"], [2.0, 1.5])
    np.testing.assert_array_equal(history["val_loss"], [np.nan, 1.75])  # not measured in the first epoch
    assert history["loss"].dtype == np.float64
    assert list(history) == ["loss", "seconds", "val_loss"] and len(history) == 3
    assert "val_loss" in history and "accuracy" not in history
    assert history.n_epochs == 2


def test_last(history):
    assert history.last == {"loss": 1.5, "seconds": 0.25, "val_loss": 1.75}
    history.last["loss"] = 0.0
    history["loss"][0] = 0.0
    np.testing.assert_array_equal(history["loss"], [2.0, 1.5])


def test_empty():
    history = bp.History()
    assert history.n_epochs == 0 and history.last == {} and list(history) == []
    with pytest.raises(KeyError, match="no 'loss'.*no epoch yet"):
        history["loss"]


def test_missing(history):
    with pytest.raises(KeyError, match=r"no 'accuracy'.*loss, seconds, val_loss"):
        history["accuracy"]
    assert history.get("accuracy") is None


def test_shown(history):
    assert "2 epochs" in repr(history) and "loss=1.5" in repr(history)
    assert "0 epochs" in repr(bp.History())


@pytest.mark.parametrize("make", [copy.deepcopy, lambda history: pickle.loads(pickle.dumps(history))])
def test_copies(history, make):
    other = make(history)
    for name in history:
        np.testing.assert_array_equal(other[name], history[name])
    other.append(loss=1.0)
    assert history.n_epochs == 2 and other.n_epochs == 3


def test_to_pandas(history):
    frame = history.to_pandas()
    assert list(frame) == list(history) and frame.index.name == "epoch" and list(frame.index) == [1, 2]
    for name in history:
        np.testing.assert_array_equal(frame[name], history[name])
    assert len(bp.History().to_pandas()) == 0


def test_plot(history):
    ax = history.plot()
    assert ax.get_yscale() == "log" and len(ax.lines) == 2
    assert history.plot("seconds", ax) is ax and len(ax.lines) == 3
    with pytest.raises(KeyError, match="accuracy"):
        history.plot("accuracy")
    history.append(loss=-1.0)  # as some losses may be
    assert history.plot().get_yscale() == "linear"


@pytest.mark.parametrize("package, extra, call", [
    ("pandas", "pandas", lambda history: history.to_pandas()), ("matplotlib", "plot", lambda history: history.plot()),
])
def test_without_an_extra(history, monkeypatch, package, extra, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'needs {package}: python -m pip install "bpfast\[{extra}\]"'):
        call(history)


def test_compared(history):
    """A mapping of arrays has an answer, whatever it is; never an error."""
    assert (history == history) in (True, False)
    assert (history == copy.deepcopy(history)) in (True, False)


def test_followed_while_it_grows():
    history = bp.History()
    history.append(loss=3)
    followed = history.follow("val_loss")
    assert np.isnan(next(followed))
    history.append(loss=2, val_loss=1)
    assert next(followed) == 1 and list(followed) == []
