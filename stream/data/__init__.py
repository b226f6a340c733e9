"""Training and test data: shards on disk and the synthetic faces that fill them."""
