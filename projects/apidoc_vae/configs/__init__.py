"""Registers the components of this project."""

import projects.apidoc_vae.dataset
import projects.apidoc_vae.evaluation
import projects.apidoc_vae.tokenizer  # noqa: F401
