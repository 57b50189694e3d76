"""Does a stanza look like this? Patterns are XML: what they do not mention may be anything.

- Attributes of the pattern must be there with that value; "*" is any value, "" is the same as absent.
- Each child of the pattern must have a counterpart of its own among the children, in any order.
- Text, if the pattern has any, must be equal; "*" is any text.
- <not xmlns='urn:x-test'>…</not> holds elements of which none may be there.
"""

from functools import lru_cache

from twisted.words.xish import domish

from tests.integration.xmlcut import parse

NS_TEST = "urn:x-test"


def matches(pattern: str, element: domish.Element) -> bool:
    return _matches(_parsed(pattern), element)


@lru_cache
def _parsed(pattern: str) -> domish.Element:
    """Each pattern is held against many elements."""
    return parse(pattern.strip().encode())


def _matches(pattern: domish.Element, element: domish.Element) -> bool:
    if (pattern.uri, pattern.name) != (element.uri, element.name):
        return False
    return _attributes_match(pattern, element) and _text_matches(pattern, element) and _children_match(pattern, element)


def _attributes_match(pattern: domish.Element, element: domish.Element) -> bool:
    for name, wanted in pattern.attributes.items():
        value = element.attributes.get(name, "")
        if value == "" if wanted == "*" else value != wanted:
            return False
    return True


def _text_matches(pattern: domish.Element, element: domish.Element) -> bool:
    wanted = str(pattern).strip()
    return not wanted or (wanted == "*" and bool(str(element))) or wanted == str(element)


def _children_match(pattern: domish.Element, element: domish.Element) -> bool:
    left = list(element.elements())
    for child in pattern.elements():
        if (child.uri, child.name) == (NS_TEST, "not"):
            if any(_matches(unwanted, other) for unwanted in child.elements() for other in element.elements()):
                return False
            continue
        found = next((other for other in left if _matches(child, other)), None)
        if found is None:
            return False
        left.remove(found)
    return True
