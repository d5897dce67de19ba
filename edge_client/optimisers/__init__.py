"""How the arrays of a model are moved: one shape for gradients, probes and borrowed optimisers."""
