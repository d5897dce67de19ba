"""`python -m firmware_sim` is the `fleet` command."""

from firmware_sim.cli import main

main()
