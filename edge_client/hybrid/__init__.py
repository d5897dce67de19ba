"""A circuit taught by the fleet's language model: text to features, soft labels, and the blend."""
