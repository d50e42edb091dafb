"""Registers the components of this project."""

import projects.mega.ablation  # noqa: F401
