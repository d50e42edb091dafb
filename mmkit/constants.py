"""Keys that data sets, collators and tasks agree on."""

EXAMPLE_INDEX_KEY = "example_index"
DATASET_INDEX_KEY = "dataset_index"
EXAMPLE_IDS_KEY = "example_ids"
