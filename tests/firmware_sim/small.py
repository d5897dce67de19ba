"""The smallest scenario that learns something."""

SMALL = """
name = "small"
[[group]]
name = "a"
count = 4
board = "pi-4"
rows = [40, 60]
[work]
target = 0.6
[work.training]
steps = 5
[work.rounds]
count = 2
cohort = 2
quorum = 1
"""
