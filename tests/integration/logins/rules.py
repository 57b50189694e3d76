"""What each client accepts, prefers and refuses when it logs in. docs/clients-logins.md names the sources."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

PLAIN = "PLAIN"


def scram(*hashes: str) -> tuple[str, ...]:
    return tuple(f"SCRAM-SHA-{name}" for name in hashes)


class Pin(Enum):
    """What a client remembers of a login that succeeded, and does not fall below."""

    NOTHING = auto()
    STRENGTH = auto()  # of the mechanism: its hash, -PLUS, and the type of the channel binding
    NO_PLAIN = auto()  # from the first login by SASL2 on


class Vouching(Enum):
    """Whether a login without channel binding has to have lists that XEP-0474 vouches for."""

    NEVER = auto()
    LISTED = auto()  # if types are listed, of which it can do none
    ALWAYS = auto()


class AfterFailure(Enum):
    GIVES_UP = auto()  # closes the connection
    ABORTS = auto()  # sends <abort/> before
    TRIES_NEXT = auto()  # the next mechanism of its list, on the same stream


@dataclass(frozen=True)
class ListsHash:
    """How a client understands XEP-0474: older versions had other names and signs."""

    attribute: str
    between: str
    before_bindings: str


NEW_LISTS_HASH = ListsHash("h", "\x1e", "\x1f")
OLD_LISTS_HASH = ListsHash("d", ",", "|")


@dataclass(frozen=True)
class Sasl2:
    """How a client uses SASL2 (XEP-0388), if it is offered."""

    user_agent: bool = True
    tag: str | None = None  # of Bind2 (XEP-0386), None: it binds afterwards
    needs_bind: bool = False  # without Bind2 inline it has no use for SASL2, or breaks
    inline: tuple[str, ...] = ()  # features that it enables with the bind
    tokens: tuple[str, ...] = ()  # of FAST (XEP-0484): hashes, best first
    token_bindings: tuple[str, ...] = ()  # only these; none given: its own, or none at all
    resumes: bool = False
    pipelines: bool = False  # a later login begins before the features have come
    checks_signature: bool = True


@dataclass(frozen=True, eq=False)
class Rules:
    """`bindings`: the channel bindings that it can do in each version of TLS, best first."""

    client: str
    mechanisms: tuple[str, ...]  # for SASL1, best first
    bindings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reads_types: bool = True  # it chooses among those that XEP-0440 lists; else takes its own best
    flag: str = "n"  # of a login without channel binding: "y" says that it could, but saw no -PLUS
    flag_unfit: str = ""  # the same, where XEP-0440 lists types, but none that it can do
    needs_binding: bool = False
    needs_vouching: Vouching = Vouching.NEVER
    needs_consistency: bool = False  # types of channel binding are listed if -PLUS is offered, and only then
    plain_only_alone: bool = False  # PLAIN is off the list where anything else is offered
    names_itself: bool = True  # `from` in the stream's header, within TLS
    names_itself_early: bool = False  # before TLS, too
    least_iterations: int = 1
    grease: bool = False  # attributes that no server knows, in both of its messages
    lists_hash: ListsHash | None = None
    checks_signature: bool = True
    pin: Pin = Pin.NOTHING
    after_failure: AfterFailure = AfterFailure.GIVES_UP
    keeps_keys: bool = False  # later logins are with kept keys, and fail for another salt
    sasl2: Sasl2 | None = None
    sasl2_mechanisms: tuple[str, ...] = ()  # if others than for SASL1


ALL_HASHES = scram("512", "256", "1")
ALL_PLUS = scram("512-PLUS", "256-PLUS", "1-PLUS")
ANY_BINDING = {"1.3": ("tls-exporter", "tls-server-end-point"), "1.2": ("tls-unique", "tls-server-end-point")}
CARBONS, SM = "urn:xmpp:carbons:2", "urn:xmpp:sm:3"

CONVERSATIONS = Rules(
    "Conversations",
    (*ALL_PLUS, *ALL_HASHES, PLAIN),
    bindings=ANY_BINDING,
    lists_hash=NEW_LISTS_HASH,
    pin=Pin.STRENGTH,
    sasl2=Sasl2(tag="Conversations", inline=(CARBONS, SM), tokens=("SHA-512", "SHA-256"), resumes=True, pipelines=True),
)
CONVERSATIONS_STRICT = replace(CONVERSATIONS, client="Conversations that demands channel binding", needs_binding=True)
MONAL = Rules(
    "Monal",
    (),
    bindings={"1.3": ("tls-exporter", "tls-server-end-point"), "1.2": ("tls-server-end-point",)},
    flag="y",
    flag_unfit="n",
    needs_vouching=Vouching.LISTED,
    needs_consistency=True,
    least_iterations=4096,
    grease=True,
    lists_hash=NEW_LISTS_HASH,
    pin=Pin.NO_PLAIN,
    sasl2=Sasl2(
        tag="Monal-iOS",
        inline=(CARBONS, SM),
        tokens=("SHA-512", "SHA-256"),
        token_bindings=("tls-exporter",),
        resumes=True,
    ),
    sasl2_mechanisms=(*ALL_PLUS, *ALL_HASHES),
)
MONAL_WITH_PLAIN = replace(MONAL, client="Monal that was told to allow PLAIN", mechanisms=(PLAIN,))
MONAL_2024 = replace(
    MONAL,
    client="Monal of 2024",
    flag="n",
    needs_vouching=Vouching.ALWAYS,
    needs_consistency=False,
    lists_hash=OLD_LISTS_HASH,
    sasl2=Sasl2(),
)
SISKIN = Rules("Siskin", (*scram("256", "1"), PLAIN))
SISKIN_TO_COME = replace(
    SISKIN,
    client="Siskin to come",
    sasl2=Sasl2(tag="Martin", inline=(SM,), tokens=("SHA-256",), resumes=True),
)
DINO = Rules(
    "Dino",
    (*scram("1"), PLAIN),
    names_itself_early=True,
    sasl2=Sasl2(
        user_agent=False, tag="dino", needs_bind=True, inline=(CARBONS, SM), resumes=True, checks_signature=False
    ),
)
GAJIM = Rules(
    "Gajim",
    (*ALL_HASHES, PLAIN),
    names_itself=False,
    least_iterations=4096,
    after_failure=AfterFailure.ABORTS,
    sasl2=Sasl2(user_agent=False),
)
CONVERSE = Rules(
    "Converse",
    (*scram("512", "384", "256", "1"), PLAIN),
    names_itself=False,
    least_iterations=4096,
    keeps_keys=True,
)
PROFANITY = Rules(
    "profanity",
    (*ALL_PLUS, *ALL_HASHES, PLAIN),
    bindings={"1.3": ("tls-exporter",), "1.2": ("tls-unique",)},
    reads_types=False,
    flag="y",
    plain_only_alone=True,
    checks_signature=False,
    after_failure=AfterFailure.TRIES_NEXT,
)
EVERYBODY = (
    CONVERSATIONS,
    CONVERSATIONS_STRICT,
    MONAL,
    MONAL_WITH_PLAIN,
    MONAL_2024,
    SISKIN,
    SISKIN_TO_COME,
    DINO,
    GAJIM,
    CONVERSE,
    PROFANITY,
)
