"""Mega with a head for a task: one file for each kind of answer."""
