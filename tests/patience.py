"""One factor for every time-out that only guards against hanging: a busy machine is slow, and not wrong.

Times in the tests are what is ample on an idle machine. With `MINIMIXPROXY_TEST_PATIENCE=1` in the environment a test
that hangs fails sooner.
"""

import os

PATIENCE = float(os.environ.get("MINIMIXPROXY_TEST_PATIENCE", "5"))


def patiently(seconds: float) -> float:
    """How long to wait, in seconds, for what an idle machine does within `seconds`."""
    return seconds * PATIENCE
