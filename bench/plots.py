"""Plots of a few points each as SVG, and a page of them that needs nothing else."""

import html
import math

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 34, 40

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1340px;margin:2em auto;padding:0 1em;color:#222;"
    "background:#fff}h1{font-size:1.3em}.plots{display:grid;"
    "grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:1em}"
    "svg{width:100%;font:11px system-ui,sans-serif}.title{font-weight:600;font-size:13px}"
    ".grid{stroke:#ddd}.y{text-anchor:end}.x{text-anchor:middle}"
)


def round_up(value):
    """The next of 1, 2, 5, 10, … at or above."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power)


def plot(title, unit, by, points):
    """A curve from zero to its largest value."""
    title, by = html.escape(title), html.escape(by)
    last, top = max(x for x, _ in points) or 1, round_up(max(y for _, y in points))

    def across(x):
        return LEFT + x / last * (WIDTH - LEFT - RIGHT)

    def down(y):
        return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    lines = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
        f'<text class="title" x="10" y="16">{title} ({unit})</text>',
        f'<text class="x" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{by}</text>',
    ]
    for step in range(5):
        y = top * step / 4
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down(y):.1f}" y2="{down(y):.1f}"/>'
            f'<text class="y" x="{LEFT - 6}" y="{down(y) + 4:.1f}">{y:,g}</text>'
        )
    path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
    lines.append(f'<polyline fill="none" stroke="#1668a8" stroke-width="1.6" points="{path}"/>')
    free = 0
    for x, y in points:
        at = across(x)
        lines.append(f'<circle fill="#1668a8" r="3" cx="{at:.1f}" cy="{down(y):.1f}"/>')
        # A figure that would stand on the one before it is left out.
        if free <= at:
            lines.append(f'<text class="x" x="{at:.1f}" y="{HEIGHT - 24}">{x:,}</text>')
            free = at + 34
    return "\n".join([*lines, "</svg>"])


def page(title, about, drawn):
    """All of them on one page."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>\n<p>{html.escape(about)}</p>\n"
        '<div class="plots">\n' + "\n".join(drawn) + "\n</div>\n</body></html>\n"
    )
