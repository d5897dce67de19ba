"""The language model's graphs, without weights: what they compute, what they are fed with."""
