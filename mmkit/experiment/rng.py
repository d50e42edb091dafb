"""Randomness for your own data sets and tasks that a resumed run repeats exactly; see :mod:`mmkit.rng`."""

from mmkit.rng import derived_key, generator, numpy_generator, preserved, seed_all


__all__ = ["derived_key", "generator", "numpy_generator", "preserved", "seed_all"]
