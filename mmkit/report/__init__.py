"""Reports: one self-contained page about a run."""

from mmkit.report.page import write_report


__all__ = ["write_report"]
