"""The Python standard library's own source, as bytes, for language models; nothing is downloaded."""
