"""The zoo: which models there are, where they lie, and what is known of them."""
