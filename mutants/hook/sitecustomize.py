"""Read by every Python that a test starts: it is measured, or has the fault, as the test's own process."""

import importlib.util
import os
import sys
from pathlib import Path

if "COVERAGE_PROCESS_START" in os.environ:
    import coverage

    coverage.process_startup()
if "MUTANTS_FAULT" in os.environ:
    faults = Path(__file__).resolve().parent.parent / "faults.py"
    specification = importlib.util.spec_from_file_location("mutants_faults", faults)
    assert specification is not None and specification.loader is not None  # the file is there
    module = importlib.util.module_from_spec(specification)
    sys.modules["mutants_faults"] = module  # dataclasses look there
    specification.loader.exec_module(module)
    module.install_from_environment()
