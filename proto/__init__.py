"""What both ends must agree on: bytes in, values out. Knows no files, no clock and no model."""

RELEASE = "0.1.0"
