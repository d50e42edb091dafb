"""What an experiment needs and whether its parts fit together, found out without data, weights or a GPU.

:func:`make_plan` builds the task without values, pushes a batch without values through two training steps, and names every
mismatch by its configuration keys. ``mmkit plan`` prints it.
"""

from mmkit.plan.findings import Mismatch
from mmkit.plan.planning import Plan, Row, make_plan
from mmkit.plan.step import Memory


__all__ = ["Memory", "Mismatch", "Plan", "Row", "make_plan"]
