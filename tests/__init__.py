"""Tests, laid out like the package; tests/integration runs real servers.

Hypothesis tries the same examples in each run, so that a failure is there again the next time, and nothing fails for
being slow. `make fuzz` tries others.
"""

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")

# Hypothesis draws on constants in all modules that are loaded: the tests that ran before would change the examples.
_NO_CONSTANTS = Constants()
local_constants = providers._get_local_constants
providers._get_local_constants = lambda: _NO_CONSTANTS
