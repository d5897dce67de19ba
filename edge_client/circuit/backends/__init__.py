"""Where a circuit's values come from: simulators in this process, and real machines."""
