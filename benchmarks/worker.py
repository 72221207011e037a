"""The process in which one library computes one workload: python worker.py MODULE WORKLOAD, as `run.py` starts it.

WORKLOAD is the fields of a `Workload` as JSON. The first line of output, JSON as well, holds the results of the first
steps, or why there are none. Then each line of input, a number of steps, is answered by the seconds that they took.
"""

import gc
import importlib
import json
import os
import sys
import time

RESULTS = 5  # so many objectives are compared


def main(module, workload):
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is not an answer
    if os.environ.get("OMP_NUM_THREADS") == "1" and hasattr(os, "sched_setaffinity"):
        # One thread is one core: some libraries have more pools of threads than variables that limit them.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        from workloads import Workload

        fields = json.loads(workload)
        training = importlib.import_module(module).build(Workload(**{**fields, "sizes": tuple(fields["sizes"])}))
        results = training.results(RESULTS)
    except (ImportError, NotImplementedError) as error:
        print(json.dumps({"missing": f"{type(error).__name__}: {error}"}), file=answers)
        return
    print(json.dumps({"results": results}), file=answers)
    for line in sys.stdin:
        steps = int(line)
        training.reset()
        training.run(min(steps, 2))
        gc.collect()
        start = time.perf_counter()
        training.run(steps)
        print(time.perf_counter() - start, file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
