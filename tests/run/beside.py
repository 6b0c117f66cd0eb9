"""What the user keeps beside the equation."""

RATE = 0.75
