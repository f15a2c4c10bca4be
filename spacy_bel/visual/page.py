"""The frame of an HTML page: one file, no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

from html import escape

STYLE = """
:root { color-scheme: light; --line: #d9dee5; --quiet: #566273; --link: #0b57a4; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 2rem 1.25rem 4rem; color: #1a222d;
  background: #fff; font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 1.5rem; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
section { border-top: 1px solid var(--line); padding: 1.5rem 0; }
.entities { max-width: 62rem; }
mark.entity { color: #111; }
a { color: var(--link); text-underline-offset: .15em; }
a:focus-visible { outline: 3px solid #f0a500; outline-offset: 2px; }
.code, .code a { font-weight: normal; color: #10365f; }
.scroll { overflow-x: auto; margin-top: 1.25rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; line-height: 1.45; }
caption { text-align: left; color: var(--quiet); padding-bottom: .35rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0; }
thead th { border-bottom: 2px solid var(--line); color: var(--quiet); font-weight: 600; }
tbody { border-bottom: 1px solid var(--line); }
tbody tr:not(:first-child) td { color: var(--quiet); }
td:nth-last-child(1), td:nth-last-child(4) { font-variant-numeric: tabular-nums; }
@media print { body { max-width: none; padding: 0; } section { break-inside: avoid-page; } }
"""

FOOTER = "</main>\n</body>\n</html>\n"


def header(title: str) -> str:
    """Everything before the first section."""
    # The policy forbids scripts, so that even a flaw in the escaping could not run any.
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
"""
