"""Training of retrievers: bi-encoders on names of the same concept, n-grams by their options."""
