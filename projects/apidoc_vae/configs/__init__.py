"""Registers the components of this project."""
