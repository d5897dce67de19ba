"""Adapters of a language model on the box: prompts, the trunk's states, training, answers."""
