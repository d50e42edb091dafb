"""Text in files: memory-mapped, indexed, split and blended."""
