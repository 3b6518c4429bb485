"""scikit-learn's checks of estimators: every one that it has for an MLP, and two that it leaves out."""

import os

import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    estimator_checks_generator,
)

from bpfast.sklearn import MLPClassifier, MLPRegressor

CHECKS = {MLPClassifier: 68, MLPRegressor: 60}  # fewer are a lost capability; one is of class weights, beyond 67

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")


def checks(kind):
    return list(estimator_checks_generator(kind(), mark=None))


def name_of(check):
    return getattr(check, "func", check).__name__


@pytest.mark.parametrize(("kind", "number"), [
    pytest.param(kind, number, id=f"{kind.__name__}-{number}-{name_of(check)}")
    for kind in CHECKS for number, (_, check) in enumerate(checks(kind))])
def test_check(kind, number):
    model, check = checks(kind)[number]
    check(clone(model))


@pytest.mark.parametrize("kind", CHECKS)
def test_how_many(kind):
    assert len(checks(kind)) == CHECKS[kind]


def test_array_api_is_on():
    """Without this its check is skipped."""
    assert os.environ["SCIPY_ARRAY_API"] == "1"


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("check", [check_dataframe_column_names_consistency, check_param_validation])
def test_more(kind, check):
    check(kind.__name__, kind())
