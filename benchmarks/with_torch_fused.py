"""PyTorch, eager, with an optimizer that is one fused operation over all parameters."""

from with_torch import WithTorch


def build(workload):
    if workload.kind == "predict":
        raise NotImplementedError("a prediction needs no optimizer; it is the same as for torch")
    return WithTorch(workload, fused=True)
