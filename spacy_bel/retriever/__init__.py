"""Candidate retrieval from terminology names."""
