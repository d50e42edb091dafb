"""Registers the components of this project."""

import projects.molmim.dataset
import projects.molmim.evaluation
import projects.molmim.tokenizer  # noqa: F401
