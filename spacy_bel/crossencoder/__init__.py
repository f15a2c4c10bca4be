"""Re-ranking candidates by reading mention, context and candidate together."""
