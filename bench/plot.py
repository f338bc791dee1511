"""The plot: a bar for each candidate and scenario, CPU cost relative to nginx, as plain SVG.

The background stays clear and the text follows the reader's colour scheme, so that the file can
stand in a README read light or dark.
"""

from __future__ import annotations

from html import escape

COLOURS = {"nginx": "#8b949e", "haproxy": "#4a90d9", "ringgate": "#e0762f"}

WIDTH = 760
LABEL_WIDTH = 130
RIGHT_MARGIN = 70
TOP = 64
BAR_HEIGHT = 16
BAR_GAP = 4
GROUP_GAP = 16
FOOT = 12

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; font-size: 15px; }
.note { font-size: 12px; }
.one { stroke: #57606a; stroke-dasharray: 4 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .one { stroke: #9198a1; }
}"""


def draw(summaries: dict[str, dict[str, dict]]) -> str:
    """The whole file. Scenarios without a ratio to nginx are left out."""
    groups = {name: bars for name, summary in summaries.items() if (bars := ratios(summary))}
    highest = max([1.0, *(ratio for bars in groups.values() for ratio in bars.values())])
    scale = (WIDTH - LABEL_WIDTH - RIGHT_MARGIN) / highest
    body: list[str] = []
    y = TOP
    for name, bars in groups.items():
        body += group(name, bars, y, scale)
        y += len(bars) * (BAR_HEIGHT + BAR_GAP) + GROUP_GAP
    one = LABEL_WIDTH + scale
    body.append(f'<line class="one" x1="{one:.1f}" y1="{TOP - 8}" x2="{one:.1f}" y2="{y - 8}"/>')
    height = y + FOOT
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">',
        "<title>CPU cost relative to nginx; less is better</title>",
        f"<style>{STYLE}</style>",
        '<text class="title" x="8" y="22">CPU cost relative to nginx (1.00); less is better</text>',
        *legend(),
        *body,
        "</svg>",
    ]) + "\n"


def ratios(summary: dict[str, dict]) -> dict[str, float]:
    """By candidate, in the order of the colours."""
    return {
        name: summary[name]["cpu_vs_nginx"]
        for name in COLOURS
        if "cpu_vs_nginx" in summary.get(name, {})
    }


def legend() -> list[str]:
    parts = []
    for index, (name, colour) in enumerate(COLOURS.items()):
        x = 8 + index * 100
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text class="note" x="{x + 18}" y="44">{name}</text>')
    return parts


def group(scenario: str, bars: dict[str, float], y: float, scale: float) -> list[str]:
    """The bars of one scenario, its name at the left."""
    height = len(bars) * (BAR_HEIGHT + BAR_GAP) - BAR_GAP
    middle = y + height / 2 + 5
    parts = [f'<text x="{LABEL_WIDTH - 10}" y="{middle:.1f}" text-anchor="end">'
             f"{escape(scenario)}</text>"]
    for candidate, ratio in bars.items():
        width = ratio * scale
        parts.append(
            f'<rect x="{LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" '
            f'fill="{COLOURS[candidate]}"/>'
        )
        parts.append(
            f'<text class="note" x="{LABEL_WIDTH + width + 6:.1f}" y="{y + 12}">{ratio:.2f}</text>'
        )
        y += BAR_HEIGHT + BAR_GAP
    return parts
