"""bpfast.sklearn: the same numbers as scikit-learn's, what it has besides, and what goes wrong."""

import copy
import functools
import pickle
import warnings

import joblib
import numpy as np
import pytest
import sklearn
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bpfast as bp
from bpfast.sklearn import MLPClassifier, MLPRegressor, NotFiniteError

N = 107
TWINS = {MLPClassifier: neural_network.MLPClassifier, MLPRegressor: neural_network.MLPRegressor}
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 6))
TARGETS = {  # name -> kind, y, parameters
    "two classes": (MLPClassifier, (X[:, 0] > 0).astype(int), {}),
    "strings": (MLPClassifier, np.array(["a", "bc", "d"])[rng.integers(3, size=N)], {}),
    "labels": (MLPClassifier, rng.integers(2, size=(N, 4)), {}),
    "numbers": (MLPRegressor, X[:, 0] * 2 + 1, {}),
    "several": (MLPRegressor, rng.normal(size=(N, 3)), {}),
    "counts": (MLPRegressor, rng.poisson(2, size=N), {"loss": "poisson"}),
    "several counts": (MLPRegressor, rng.poisson(2, size=(N, 2)), {"loss": "poisson"}),
}
SETTINGS = {
    "adam": {},
    "whole": {"batch_size": N},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.05},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "plain": {"solver": "sgd", "momentum": 0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e9, "n_iter_no_change": 1, "max_iter": 12},
    "early stopping": {"early_stopping": True, "max_iter": 20, "n_iter_no_change": 3},
    "lbfgs": {"solver": "lbfgs", "max_iter": 5},
}
each_target = pytest.mark.parametrize("target", TARGETS)

pytestmark = [pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
              pytest.mark.filterwarnings("ignore:columns of X are hard")]


def pair(target, **parameters):
    """A model of scikit-learn and ours, y."""
    kind, y, more = TARGETS[target]
    parameters = {"hidden_layer_sizes": (9, 5), "activation": "tanh", "alpha": 0.5, "batch_size": 32, "shuffle": False,
                  "max_iter": 6, "random_state": 3, **more, **parameters}
    known = {name: value for name, value in parameters.items() if name in TWINS[kind]().get_params()}
    return TWINS[kind](**known), kind(**parameters), y


def assert_alike(theirs, ours, rtol=1e-9):
    for expected, found in zip([*theirs.coefs_, *theirs.intercepts_], [*ours.coefs_, *ours.intercepts_], strict=True):
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-11)


def assert_same_predictions(theirs, ours, rtol=1e-9):
    check = np.testing.assert_array_equal
    if isinstance(ours, MLPRegressor):
        check = functools.partial(np.testing.assert_allclose, rtol=rtol)
    check(ours.predict(X), theirs.predict(X))


# -- the same numbers --------------------------------------------------------------------------------------------


@each_target
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_same_weights(target, settings, weighted):
    """From the same first weights, in the same batches; rows in order."""
    weight = np.random.default_rng(1).uniform(0.1, 2, N) if weighted else None
    theirs, ours, y = pair(target, **SETTINGS[settings])
    theirs.fit(X, y, weight), ours.fit(X, y, weight)
    assert_alike(theirs, ours)
    assert (ours.n_iter_, ours.t_, ours.n_layers_, ours.n_outputs_, ours.out_activation_) == (
        theirs.n_iter_, theirs.t_, theirs.n_layers_, theirs.n_outputs_, theirs.out_activation_)
    assert_same_predictions(theirs, ours)
    if settings == "early stopping":
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-9)
        assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
    assert vars(theirs).keys() - vars(ours).keys() <= {
        "_best_coefs", "_best_intercepts", "_coef_indptr", "_intercept_indptr", "_optimizer"}


@each_target
def test_the_same_loss(target):
    """The penalty of an epoch is taken as its mean over the epoch, from where it begins and ends."""
    theirs, ours, y = pair(target, alpha=1e-4)
    theirs.fit(X, y), ours.fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-5)
    assert ours.best_loss_ == min(ours.loss_curve_) and ours.loss_ == ours.loss_curve_[-1]
    theirs, ours, y = pair(target, alpha=0.5, max_iter=12)
    np.testing.assert_allclose(ours.fit(X, y).loss_curve_, theirs.fit(X, y).loss_curve_, rtol=1e-3)
    for settings in SETTINGS["whole"], SETTINGS["lbfgs"]:
        theirs, ours, y = pair(target, **{**settings, "max_iter": 1})
        weight = np.random.default_rng(1).uniform(0.1, 2, N)
        assert ours.fit(X, y, weight).loss_ == pytest.approx(theirs.fit(X, y, weight).loss_, rel=1e-9)


@each_target
def test_gradients(target):
    """At the same weights: theirs by the step of plain descent that they make, ours by get_trainer()."""
    _, ours, y = pair(target, solver="sgd", momentum=0, learning_rate_init=1.0, batch_size=N)
    ours.set_params(max_iter=1).fit(X, y)
    before = ours.to_sklearn()
    after = copy.deepcopy(before).partial_fit(X, y)
    targets = ours._targets_of_loss(ours._targets_of(y).reshape(N, -1))
    _, gradients = ours.get_trainer().loss_and_gradients(X, targets)
    scale = ours._outputs_per_loss
    for layer, name in enumerate(["0", "1", "2"]):
        for attribute, part in (("coefs_", "weight"), ("intercepts_", "bias")):
            step = getattr(before, attribute)[layer] - getattr(after, attribute)[layer]
            np.testing.assert_allclose(scale * gradients[f"{name}.{part}"], step, rtol=1e-7, atol=1e-11)


@each_target
def test_partial_fit_goes_on(target):
    theirs, ours, y = pair(target)
    labels = np.arange(4) if target == "labels" else np.unique(y)
    classes = {} if isinstance(ours, MLPRegressor) else {"classes": labels}
    for rows in (slice(0, 50), slice(50, 107), slice(20, 90)):
        theirs.partial_fit(X[rows], y[rows], **classes), ours.partial_fit(X[rows], y[rows], **classes)
    assert_alike(theirs, ours)
    assert ours.t_ == theirs.t_ == 177 and ours.n_iter_ == 1


def test_float32_stays_float32():
    _, ours, y = pair("numbers")
    ours.fit(X.astype("f4"), y)
    assert {array.dtype for array in [*ours.coefs_, *ours.intercepts_, ours.predict(X)]} == {np.dtype("f4")}
    assert clone(ours).set_params(dtype="float64").fit(X.astype("f4"), y).coefs_[0].dtype == np.float64


@each_target
def test_a_row_alone_is_the_row_in_a_batch(target):
    _, ours, y = pair(target)
    ours.fit(X, y)
    np.testing.assert_array_equal(ours.predict(X[17:18])[0], ours.predict(X)[17])


# -- to and from scikit-learn ------------------------------------------------------------------------------------


@each_target
@pytest.mark.parametrize("settings", ["adam", "early stopping", "lbfgs"])
def test_conversions(target, settings):
    theirs, ours, y = pair(target, **SETTINGS[settings])
    converted = type(ours).from_sklearn(theirs.fit(X, y))
    assert_same_predictions(theirs, converted, rtol=1e-12)
    back = converted.to_sklearn()
    assert type(back) is type(theirs) and back.get_params() == theirs.get_params()
    assert_alike(theirs, back, rtol=0)
    assert not any(a is b for a, b in zip(back.coefs_, converted.coefs_))
    if (target, settings) == ("several", "lbfgs"):
        return  # scikit-learn gives SciPy a third of the loss whose gradient it gives: its line searches differ
    back.set_params(warm_start=True).fit(X, y)
    converted.set_params(warm_start=True).fit(X, y)
    assert_alike(back, converted)


def test_what_does_not_convert():
    _, ours, y = pair("numbers", activation=["gelu", "tanh"])
    with pytest.raises(ValueError, match="'activation' parameter of MLPRegressor must be"):
        ours.fit(X, y).to_sklearn()
    with pytest.raises(TypeError, match="takes a fitted sklearn.neural_network.MLPRegressor"):
        MLPRegressor.from_sklearn(neural_network.MLPClassifier())
    with pytest.raises(NotFittedError):
        MLPRegressor.from_sklearn(neural_network.MLPRegressor())
    with pytest.raises(NotFittedError):
        MLPRegressor().to_sklearn()


def test_weights_that_are_put_there_count():
    theirs, ours, y = pair("strings")
    theirs.fit(X, y)
    ours.set_params(random_state=9).fit(X, y)
    ours.coefs_, ours.intercepts_ = copy.deepcopy(theirs.coefs_), theirs.intercepts_
    np.testing.assert_array_equal(ours.predict_proba(X).round(9), theirs.predict_proba(X).round(9))
    ours.coefs_[0][...] = 0
    assert not np.allclose(ours.predict_proba(X), theirs.predict_proba(X))
    before = ours.coefs_[2].copy()
    ours.set_params(warm_start=True, max_iter=1).fit(X, y)
    assert 0 < np.abs(ours.coefs_[2] - before).max() < 0.1


# -- pickles, copies, pipelines ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["pickle", "joblib", "mapped", "deepcopy"])
@pytest.mark.parametrize("early", [False, True])
def test_round_trips_go_on_as_the_model(tmp_path, way, early):
    _, ours, y = pair("strings", early_stopping=early)
    ours.fit(X, y)
    if way == "pickle":
        twin = pickle.loads(pickle.dumps(ours))
    elif way == "deepcopy":
        twin = copy.deepcopy(ours)
    else:
        joblib.dump(ours, tmp_path / "model")
        twin = joblib.load(tmp_path / "model", mmap_mode="r" if way == "mapped" else None)
    np.testing.assert_array_equal(twin.predict_proba(X), ours.predict_proba(X))
    for model in (ours, twin):
        model.set_params(early_stopping=False)
        for _ in range(3):
            model.partial_fit(X, y)
    for a, b in zip(ours.coefs_, twin.coefs_):
        np.testing.assert_array_equal(a, b)


def test_in_pipelines_and_searches():
    y = TARGETS["strings"][1]
    pipe = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=8, max_iter=5, random_state=0))
    assert len(cross_val_score(pipe, X, y, cv=3, n_jobs=2, error_score="raise")) == 3
    grid = {"mlpclassifier__alpha": [1e-4, 1], "mlpclassifier__dropout": [0.0, 0.2]}
    search = GridSearchCV(pipe, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert search.best_estimator_.predict(X).shape == (N,)
    calibrated = CalibratedClassifierCV(MLPClassifier(max_iter=5), cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    assert "MLPClassifier" in pipe._repr_html_()


def test_metadata_routing():
    y = TARGETS["strings"][1]
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(max_iter=3, random_state=0).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, model).fit(X, y, sample_weight=np.arange(N) % 2)
        plain = make_pipeline(scaler, clone(model)).fit(X, y)
    assert not np.array_equal(pipe[-1].coefs_[0], plain[-1].coefs_[0])


# -- what scikit-learn has not -----------------------------------------------------------------------------------


def test_activations_and_dropout_of_every_layer():
    _, ours, y = pair("strings", activation=["gelu", bp.ACTIVATIONS["leaky_relu"](slope=0.1)], dropout=(0.5, 0))
    layers = ours.fit(X, y).get_trainer().network.layers
    assert layers == (bp.Dense(9, "gelu"), bp.Dropout(0.5), bp.Dense(5, bp.ACTIVATIONS["leaky_relu"](slope=0.1)),
                      bp.Dense(3, "softmax"))
    with pytest.raises(ValueError, match="dropout has 3 entries, but there are 2 hidden layers"):
        ours.set_params(dropout=[0.1, 0.1, 0.1]).fit(X, y)


def test_class_weight():
    y = (X[:, 0] > 1).astype(int)
    common = {"max_iter": 100, "random_state": 0}
    plain, balanced = (MLPClassifier(class_weight=w, **common).fit(X, y) for w in (None, "balanced"))
    by_hand = MLPClassifier(**common).fit(X, y, np.where(y, N / 2 / y.sum(), N / 2 / (N - y.sum())))
    np.testing.assert_allclose(balanced.coefs_[0], by_hand.coefs_[0], rtol=1e-12)
    assert balanced.predict(X).sum() > plain.predict(X).sum()
    with pytest.raises(ValueError, match="does not see all rows"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="y indicates several"):
        MLPClassifier(class_weight="balanced").fit(X, TARGETS["labels"][1])


@pytest.mark.parametrize(("loss", "value"), [
    ("absolute_error", lambda d: np.abs(d).mean()),
    (bp.LOSSES["quantile"](q=0.9), lambda d: np.maximum(0.9 * d, -0.1 * d).mean()),
    ("huber", lambda d: np.where(np.abs(d) < 1, d * d / 2, np.abs(d) - 0.5).mean()),
])
def test_losses(loss, value):
    y = TARGETS["numbers"][1]
    model = MLPRegressor(loss, alpha=0, batch_size=N, max_iter=1, random_state=0, solver="sgd", momentum=0,
                         learning_rate_init=1e-12).fit(X, y)
    assert model.loss_ == pytest.approx(value(y - model.predict(X)), rel=1e-6)


def test_optimizers_and_clips():
    _, ours, y = pair("numbers", optimizer=bp.AdamW(bp.CosineDecay(1e-2, 6)), clip=bp.ClipGlobalNorm(1.0))
    trainer = ours.fit(X, y).get_trainer()
    assert trainer.optimizer == bp.AdamW(bp.CosineDecay(1e-2, 6)) and trainer.clip == bp.ClipGlobalNorm(1.0)
    assert trainer.history["learning_rate"][-1] < 1e-3
    assert not hasattr(MLPRegressor(optimizer=bp.LBFGS()), "partial_fit")
    assert MLPRegressor(optimizer=bp.LBFGS(), max_iter=3).fit(X, y).n_iter_ == 3
    with pytest.raises(ValueError, match="unknown optimizer 'adan'"):
        MLPRegressor(optimizer="adan").fit(X, y)


def test_rows_to_validate_with():
    _, ours, y = pair("strings", early_stopping=True, scoring="neg_log_loss", max_iter=40, n_iter_no_change=5)
    ours.fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    assert len(ours.validation_scores_) == len(ours.validation_loss_curve_) == ours.n_iter_
    np.testing.assert_allclose(ours.validation_scores_, -np.array(ours.validation_loss_curve_), rtol=1e-9)
    assert ours.t_ == 80 * ours.n_iter_
    log = -np.log(ours.predict_proba(X[80:])[np.arange(27), np.searchsorted(ours.classes_, y[80:])]).mean()
    assert -ours.best_validation_score_ == pytest.approx(log)
    only = clone(ours).set_params(early_stopping=False).fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    assert only.validation_scores_ is None and len(only.validation_loss_curve_) == only.n_iter_
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        ours.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="L-BFGS looks at the rows to learn from alone"):
        clone(ours).set_params(solver="lbfgs").fit(X, y, X_val=X, y_val=y)
    with pytest.raises(ValueError, match="classes not in"):
        ours.fit(X, y, X_val=X[:3], y_val=["a", "zz", "a"])


def test_early_stopping_with_partial_fit():
    _, ours, y = pair("numbers", early_stopping=True, n_iter_no_change=3, learning_rate_init=0.05)
    calls = 0
    while not (calls and ours.early_stopped_) and calls < 500:
        ours.partial_fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
        calls += 1
    assert 4 < calls < 500 and len(ours.validation_scores_) == calls
    assert ours.score(X[80:], y[80:]) == pytest.approx(max(ours.validation_scores_))
    before = ours.coefs_[0].copy()
    ours.partial_fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    np.testing.assert_array_equal(ours.coefs_[0], before)


def test_a_scorer_sees_rows_with_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        MLPRegressor(early_stopping=True, scoring="r2", max_iter=3).fit(frame, TARGETS["numbers"][1])


def test_a_warm_start_that_keeps_the_optimizer():
    _, whole, y = pair("numbers", max_iter=6)
    _, parts, _ = pair("numbers", max_iter=3, warm_start=True, keep_optimizer=True)
    whole.fit(X, y)
    parts.fit(X, y).fit(X, y)
    np.testing.assert_array_equal(whole.coefs_[0], parts.coefs_[0])
    forgets = parts.set_params(keep_optimizer=False).fit(X, y)
    assert forgets.get_trainer().history.n_epochs == 3


def test_time_limit():
    y = TARGETS["numbers"][1]
    model = MLPRegressor(time_limit=0.05, max_iter=10**9, n_iter_no_change=np.inf)
    with pytest.warns(ConvergenceWarning, match="time_limit=0.05 seconds are over after"):
        model.fit(X, y)
    assert 0 < model.n_iter_ < 10**8 and len(model.loss_curve_) == model.n_iter_
    with pytest.warns(ConvergenceWarning, match="time_limit=0.05"):
        MLPRegressor(solver="lbfgs", time_limit=0.05, max_iter=10**9, max_fun=10**9, tol=0).fit(X * 1e-3, y)


def test_get_trainer_goes_on():
    _, ours, y = pair("numbers")
    trainer = ours.fit(X, y).get_trainer()
    before = ours.predict(X)
    trainer.fit(X, y, epochs=3)
    assert not np.array_equal(ours.predict(X), before)
    np.testing.assert_array_equal(ours.predict(X), trainer.predict(X)[:, 0])
    with pytest.raises(NotFittedError):
        MLPRegressor().get_trainer()


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks(solver):
    y = TARGETS["strings"][1]
    monitor, model = ScoringMonitor(scoring="accuracy"), MLPClassifier(max_iter=4, random_state=0, solver=solver)
    model.set_callbacks(monitor).fit(X, y)
    scores = [entry["accuracy"] for entry in monitor.get_logs().data if entry["task_name"] == "iteration"]
    assert len(scores) == model.n_iter_ == 4 and scores[-1] == model.score(X, y)


class StopAtThree:
    def setup(self, estimator, context):
        self.n = 0

    def teardown(self, estimator, context):
        """Nothing to do."""

    def on_fit_task_begin(self, estimator, context):
        """Nothing to do."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.n += context.task_name == "iteration"
        self.last = fitted_estimator
        return self.n == 3


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_callback_ends_the_fit(solver):
    _, ours, y = pair("numbers", solver=solver, max_iter=20)
    stop = StopAtThree()
    ours.set_callbacks(stop).fit(X, y)
    assert ours.n_iter_ == 3
    np.testing.assert_array_equal(stop.last.predict(X), ours.predict(X))
    ours.coefs_[0][...] = 0
    assert not np.array_equal(stop.last.predict(X), ours.predict(X))


@pytest.mark.parametrize("given", [{"solver": "lbfgs", "optimizer": "adam"},
                                   {"optimizer": bp.LBFGS(), "early_stopping": True}])
def test_an_optimizer_beside_another_solver(given):
    _, ours, y = pair("numbers", **given)
    lbfgs = isinstance(given["optimizer"], bp.LBFGS)
    assert hasattr(ours.fit(X, y), "loss_curve_") == (not lbfgs) == hasattr(ours, "partial_fit")
    assert ours.n_iter_ == 6


def test_warnings_name_the_line(recwarn):
    """Of fit and of partial_fit."""
    _, ours, y = pair("numbers", batch_size=1000)
    ours.fit(X, y)
    ours.partial_fit(X, y)
    clone(ours).set_params(solver="lbfgs", max_iter=1).fit(X, y)
    clone(ours).fit(X * 100, y)
    assert len(recwarn) == 7 and {warning.filename for warning in recwarn} == {__file__}


# -- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_divergence(solver):
    _, ours, y = pair("numbers", solver=solver, activation="relu", learning_rate_init=1e20, max_iter=50)
    data = X * (1e200 if solver == "lbfgs" else 1)
    with pytest.raises(NotFiniteError, match=r"Solver produced non-finite .* Try: "):
        ours.fit(data, y)
    assert all(np.isfinite(array).all() for array in ours.coefs_)
    assert issubclass(NotFiniteError, ValueError) and issubclass(NotFiniteError, bp.DivergenceError)


@pytest.mark.parametrize("after", [0, 3])
def test_ctrl_c_is_raised_and_leaves_a_model(monkeypatch, after):
    _, ours, y = pair("numbers", max_iter=50, verbose=True)
    fit, calls = bp.Trainer.fit, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(bp.Trainer, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ours.fit(X, y)
    assert ours.n_iter_ == len(ours.loss_curve_) == after
    assert np.isfinite(ours.predict(X)).all()


def test_inputs_that_are_hard_to_learn_from():
    pandas = pytest.importorskip("pandas")
    y, ill = TARGETS["numbers"][1], X.copy()
    ill[:, 1], ill[:, 4] = 7, 1e4 * X[:, 4]
    with pytest.warns(UserWarning) as found:
        MLPRegressor(max_iter=2).fit(ill, y)
    told = [str(warning.message) for warning in found if not isinstance(warning.message, ConvergenceWarning)]
    assert len(told) == 1 and "apart: 1;" in told[0] and "diverges: 4;" in told[0]
    with pytest.warns(UserWarning, match="apart: 'b';"):
        MLPRegressor(max_iter=2).fit(pandas.DataFrame(ill, columns=list("abcdef")), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        MLPRegressor(max_iter=2).fit(X, y)


@pytest.mark.parametrize(("parameters", "message"), [
    ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes must be > 0"),
    ({"activation": "softmax"}, "'activation' parameter"),
    ({"dropout": 1.0}, "'dropout' parameter"),
    ({"momentum": 1.0, "solver": "sgd"}, r"momentum must be a number in \[0, 1\)"),
    ({"dtype": "float16"}, "'dtype' parameter"),
    ({"backend": "cuda"}, "'backend' parameter"),
    ({"time_limit": 0}, "'time_limit' parameter"),
])
def test_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        MLPRegressor(**parameters).fit(X, TARGETS["numbers"][1])


def test_not_finite_inputs_of_predict():
    _, ours, y = pair("numbers")
    ours.fit(X, y)
    for number, message in ((np.nan, "contains NaN"), (np.inf, "contains infinity")):
        ill = X.copy()
        ill[3, 2] = number
        with pytest.raises(ValueError, match=message):
            ours.predict(ill)
    with pytest.raises(ValueError, match="is expecting 6 features"):
        ours.predict(X[:, :5])
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(X)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes is \[7\], but coefs_ and .* are of layers \[9, 5\]"):
        ours.set_params(hidden_layer_sizes=7, warm_start=True).fit(X, y)
