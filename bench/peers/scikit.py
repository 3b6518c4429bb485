"""scikit-learn's MLPClassifier and MLPRegressor, the solver "adam".

Epochs run within one ``fit`` that goes on from the layers it finds (``warm_start``): ``partial_fit`` would check all
rows anew in each.
"""

import warnings

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor


class ScikitLearn:
    version = sklearn.__version__

    def __init__(self, workload, X, y, layers, threads):
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs asked for are few
        regression = workload.loss == "squared_error"
        self.X, self.y, self.initial = X, np.ravel(y), layers
        estimator = MLPRegressor if regression else MLPClassifier
        self.model = estimator(hidden_layer_sizes=workload.widths[1:-1], batch_size=workload.batch, alpha=0, tol=0,
                               n_iter_no_change=np.inf, warm_start=True, random_state=0)
        classes = {} if regression else {"classes": np.unique(y)}
        self.model.partial_fit(X[: workload.batch], self.y[: workload.batch], **classes)  # makes the arrays

    def ready(self, orders):
        self.model.set_params(max_iter=len(orders))
        for (weight, bias), *model in zip(self.initial, self.model.coefs_, self.model.intercepts_):
            for parameter, initial in zip(model, (weight, bias)):
                np.copyto(parameter, initial)

    def train(self):
        self.model.fit(self.X, self.y)

    def layers(self):
        return [*zip(self.model.coefs_, self.model.intercepts_)]
