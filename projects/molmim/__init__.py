"""Molecules as text, and a latent space of them."""
