"""The same work in eight threads at once."""

from __future__ import annotations

import sys
import threading


def in_threads(work):
    """What work(seed) returns in each of 8 threads, which take turns as often as Python can."""
    results, start, interval = {}, threading.Barrier(8), sys.getswitchinterval()

    def run(seed):
        start.wait()
        results[seed] = work(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    sys.setswitchinterval(1e-7)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(results) == 8
    return results
