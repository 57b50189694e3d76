"""Small graphs of the last hour, as SVG made here: no script, no style of its own. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.web.template import Tag, tags

WIDTH, HEIGHT = 300, 60


def graph(title: str, values: Sequence[float], text: Callable[[float], str]) -> Tag:
    """Return a graph of values in the order of time; `text` shows one of them."""
    if len(values) < 2:
        return tags.figure(tags.figcaption(f"{title}: not enough was measured yet"))
    highest = max(values)
    told = f"{title}: now {text(values[-1])}, highest {text(highest)}, lowest {text(min(values))}"
    return tags.figure(
        Tag(
            "svg",
            attributes={
                "viewBox": f"0 0 {WIDTH} {HEIGHT}",
                "preserveAspectRatio": "none",
                "role": "img",
                "aria-label": told,
            },
            children=[
                Tag("polygon", attributes={"class": "area", "points": _area(values, highest)}),
                Tag("polyline", attributes={"class": "line", "points": " ".join(_points(values, highest))}),
            ],
        ),
        tags.figcaption(told),
    )


def _points(values: Sequence[float], highest: float) -> list[str]:
    step = WIDTH / (len(values) - 1)
    scale = (HEIGHT - 4) / highest if highest > 0 else 0.0
    return [f"{index * step:.1f},{HEIGHT - 2 - value * scale:.1f}" for index, value in enumerate(values)]


def _area(values: Sequence[float], highest: float) -> str:
    return " ".join([f"0,{HEIGHT}", *_points(values, highest), f"{WIDTH},{HEIGHT}"])
