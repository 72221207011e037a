"""pancake with a whole training step as one call, as `fit` makes it."""

from with_pancake import WithPancake
from workloads import data

import pancake as pk


class WithTrainStep(WithPancake):
    def __init__(self, workload):
        if workload.kind == "predict":
            raise NotImplementedError("a prediction is no training step")
        super().__init__(workload)

    def reset(self):
        super().reset()
        step, (x, y) = pk.TrainStep(self.model, self.loss, self.optimizer), data(self.workload)
        self.step = lambda: step(x, y)


build = WithTrainStep
