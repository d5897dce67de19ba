"""Numbers made small, and back: named float32 arrays to few bytes. Knows nothing of messages."""
