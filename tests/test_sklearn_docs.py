"""The docstrings of bpfast.sklearn: they have all parameters and attributes, and their examples run."""

import ast
import doctest
import inspect
import re

import numpy as np
import pandas as pd
import pytest

from bpfast.sklearn import MLPClassifier, MLPRegressor

BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2


def entries(documented, section):
    """The names that a section of a docstring has -> what stands behind their colons."""
    (text,) = re.findall(rf"^{section}\n-+\n(.*?)(?=\n\n|\Z)", inspect.getdoc(documented), re.DOTALL | re.MULTILINE)
    return dict(re.findall(r"^(\w+) : (.+)$", text, re.MULTILINE))


@BOTH
def test_a_docstring_has_every_parameter_with_its_default(kind):
    written = [(name, re.search(r"default=(.+)$", text)[1]) for name, text in entries(kind, "Parameters").items()]
    defaults = [(name, parameter.default) for name, parameter in inspect.signature(kind).parameters.items()]
    assert [(name, ast.literal_eval(default)) for name, default in written] == defaults


@BOTH
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict"])
def test_a_method_has_every_parameter(kind, method):
    function = getattr(kind, method)
    assert ["self", *entries(function, "Parameters")] == list(inspect.signature(function).parameters)


@BOTH
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_a_docstring_has_every_attribute(kind, settings):
    """A model has no other; what L-BFGS does not find it need not have."""
    data = pd.DataFrame(X, columns=["a", "b", "c"])
    model = kind(hidden_layer_sizes=(4,), max_iter=2, random_state=0, **settings).fit(data, y)
    there = {name for name in vars(model) if re.search(r"^[^_].*_$", name)}
    documented = set(entries(kind, "Attributes"))
    assert there <= documented
    if model.solver != "lbfgs":
        assert there == documented


@BOTH
def test_the_example_runs(kind):
    (example,) = doctest.DocTestFinder(recurse=False).find(kind, globs={})
    told = []
    failed, tried = doctest.DocTestRunner().run(example, out=told.append)
    assert tried > 5 and not failed, "".join(told)
