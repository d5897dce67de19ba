"""The box: its data stays, only a sealed update leaves."""
