"""Linking by generating concept names (GENRE, SynCABEL, LongBEL)."""
