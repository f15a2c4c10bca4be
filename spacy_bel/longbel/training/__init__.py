"""Teaching language models to generate names: examples, robust memory, trainers."""
