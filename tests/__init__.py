"""Tests, laid out like the package; tests/integration runs real servers.

Hypothesis tries the same examples in each run, so that a failure is there again the next time, and nothing fails for
being slow. `make fuzz` tries others.
"""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import engine, providers
from hypothesis.internal.constants_ast import Constants

from tests import tallies
from tests.examples import examples

settings.register_profile(
    "tests",
    max_examples=examples(100),
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    # Not `explain`: it traces each line of a failing test, hundreds of times.
    phases=(Phase.explicit, Phase.generate, Phase.target, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")

#: Seconds for which hypothesis makes a failing example smaller: others wait meanwhile.
SHRINKING = 15
# of hypothesis itself; `make fuzz` takes its time
LONGEST_SHRINKING = engine.MAX_SHRINKING_SECONDS
engine.MAX_SHRINKING_SECONDS = SHRINKING

# Hypothesis draws on constants in all modules that are loaded: the tests that ran before would change the examples.
_NO_CONSTANTS = Constants()
local_constants = providers._get_local_constants
providers._get_local_constants = lambda: _NO_CONSTANTS

tallies.be_strict()
