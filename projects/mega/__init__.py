"""Mega on long sequences: source code byte by byte, pictures pixel by pixel, associative recall."""
