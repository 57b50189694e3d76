"""All commands, in the order in which they are shown."""

from minimixproxy.operator.commands.backup import BACKUP
from minimixproxy.operator.commands.block import BLOCK, BLOCKED, UNBLOCK
from minimixproxy.operator.commands.check import CHECK
from minimixproxy.operator.commands.drain import DRAIN
from minimixproxy.operator.commands.enroll import ENROLL
from minimixproxy.operator.commands.forget import FORGET
from minimixproxy.operator.commands.migrate import MIGRATE
from minimixproxy.operator.commands.reload import RELOAD
from minimixproxy.operator.commands.status import STATUS

COMMANDS = (CHECK, STATUS, RELOAD, ENROLL, FORGET, BLOCK, UNBLOCK, BLOCKED, DRAIN, BACKUP, MIGRATE)
