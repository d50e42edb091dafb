"""Keys and labels that data sets, collators and tasks agree on."""

EXAMPLE_INDEX_KEY = "example_index"
DATASET_INDEX_KEY = "dataset_index"
EXAMPLE_IDS_KEY = "example_ids"
IGNORED_LABEL = -100  # what takes no part in a loss, as in torch's cross entropy and in Hugging Face's models
