"""Scores of entity links."""
