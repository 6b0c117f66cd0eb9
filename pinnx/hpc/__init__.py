"""Many runs and many processes: sweeps, batch jobs, data-parallel training, and watching them."""
