"""Group search: which settings the jobs of a sweep try, in what order, and for how many epochs each."""
