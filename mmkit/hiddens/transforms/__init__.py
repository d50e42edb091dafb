"""Transformations of hidden states (config group ``hiddens/transform``)."""
