"""What ``mmkit data peek`` finds out about the examples of a data set."""
