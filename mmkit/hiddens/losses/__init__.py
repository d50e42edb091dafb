"""Losses on named hidden states (config group ``hiddens/loss``)."""
