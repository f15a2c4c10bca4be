"""`bel_setwise`: a language model reads the candidates of a mention as lettered options."""
