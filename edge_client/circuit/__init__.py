"""Gate lists made to run: the NumPy engine and the circuit classifier."""
