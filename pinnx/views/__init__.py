"""What a solution looks like: fields on grids, and their figures."""
