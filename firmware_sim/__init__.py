"""Whole fleets on one machine: a virtual clock, a broker in memory, links that fail by seed."""
