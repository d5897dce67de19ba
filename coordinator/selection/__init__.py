"""Who trains next: feasibility, coverage, scorers. Pure functions of reports, history and seed."""
