"""Looking at links: an HTML page for the browser, a table for the terminal."""

from spacy_bel.visual.links import LinksPage, links_html
from spacy_bel.visual.table import candidates_table

__all__ = ["LinksPage", "candidates_table", "links_html"]
