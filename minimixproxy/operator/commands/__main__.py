"""`python -m minimixproxy.operator.commands`."""

import sys

from minimixproxy.operator.commands import main

if __name__ == "__main__":
    sys.exit(main())
