"""A language model at work: found, opened, adapted, and asked for the chances of label tokens."""
