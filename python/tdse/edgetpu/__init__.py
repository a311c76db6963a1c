"""The Edge TPU of Coral's boards: what it runs, what that takes, how it is compiled for and run."""
