"""The planning agent: a small language model that reads what boxes report, and how it is taught."""
