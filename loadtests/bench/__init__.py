"""`python -m loadtests bench`: the service against the loops people run today, and against its engines' own limit."""
