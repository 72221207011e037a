"""scikit-learn's MLPClassifier: `fit`, warm-started, whose one batch is the whole data, so that an epoch is a step."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from workloads import Training, data, initial

warnings.simplefilter("ignore", ConvergenceWarning)


class WithSklearn(Training):
    def __init__(self, workload):
        if workload.length:
            raise NotImplementedError("it has no recurrent layers")
        if workload.sizes[-1] == 2:
            raise NotImplementedError("for two classes it has one output, which is another net")
        self.workload = workload
        self.x, y = data(workload)
        self.y = y.ravel().astype(int)
        self.initial = list(initial(workload).values())
        self.model = MLPClassifier(
            workload.sizes[1:-1],
            activation=workload.activation,
            solver=workload.optimizer,
            learning_rate_init=workload.lr,
            alpha=0,
            momentum=0,
            nesterovs_momentum=False,
            batch_size=workload.batch,
            shuffle=False,
            warm_start=True,
            max_iter=1,
            tol=0,
            n_iter_no_change=np.inf,
            random_state=0,
        )
        if workload.kind == "predict":  # `fit` makes the arrays; which ones, `reset` decides
            self.model.set_params(batch_size="auto").fit(np.zeros((2, workload.sizes[0]), workload.dtype), [0, 1])
        else:
            self.model.fit(self.x, self.y)

    def reset(self):
        self.model.coefs_ = [array.T.copy() for array in self.initial[::2]]
        self.model.intercepts_ = [array.copy() for array in self.initial[1::2]]
        vars(self.model).pop("_optimizer", None)

    def step(self):
        if self.workload.kind == "predict":
            return self.model.predict_proba(self.x)[:, 1]
        self.run(1)
        return self.model.loss_curve_[-1]

    def run(self, steps):
        if self.workload.kind == "predict":
            super().run(steps)
        else:
            self.model.set_params(max_iter=steps).fit(self.x, self.y)

    def results(self, steps):
        if self.workload.kind == "predict":
            return super().results(steps)
        self.reset()
        self.run(steps)
        return [float(objective) for objective in self.model.loss_curve_[-steps:]]


build = WithSklearn
