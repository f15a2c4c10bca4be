"""Language models that `longbel_linker` decodes with."""
