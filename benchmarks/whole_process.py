"""A process from start to end: python whole_process.py MODULE. It makes W1, trains it for 1,000 steps, and prints the loss.

After the loss it prints the largest memory that it has had, in KiB.
"""

import sys

STEPS = 1000


def peak():
    """The largest resident memory of this process in KiB."""
    try:
        with open("/proc/self/status") as file:  # getrusage would count what the parent had when it started this process
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except OSError:
        import resource  # where there is no /proc; macOS counts in bytes

        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size // 1024 if sys.platform == "darwin" else size


if __name__ == "__main__":
    from workloads import WORKLOADS

    training = __import__(sys.argv[1]).build(WORKLOADS["W1"])
    training.reset()
    training.run(STEPS - 1)
    print(float(training.step()), peak())
