"""What this machine has, what it lacks, and which commands can run on it. Needs nothing beyond the core packages."""
