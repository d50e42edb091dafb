"""Decoders: networks that turn hidden vectors into tokens."""
