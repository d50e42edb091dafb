"""Registers the components of this project."""

import projects.emoji_clip.dataset
import projects.emoji_clip.encoders
import projects.emoji_clip.gallery  # noqa: F401
