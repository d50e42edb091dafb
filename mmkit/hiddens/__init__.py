"""Hidden transformations: what happens to the output of an encoder, and losses on what comes of it."""
