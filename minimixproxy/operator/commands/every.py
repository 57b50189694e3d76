"""All commands, in the order in which they are shown."""

from minimixproxy.operator.commands.block import BLOCK, BLOCKED, UNBLOCK
from minimixproxy.operator.commands.enroll import ENROLL
from minimixproxy.operator.commands.forget import FORGET
from minimixproxy.operator.commands.status import STATUS

COMMANDS = (STATUS, ENROLL, FORGET, BLOCK, UNBLOCK, BLOCKED)
