"""Classical directions: preconditioners, one a file."""
