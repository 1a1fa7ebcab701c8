"""The log as a file, and the transparency log over it."""
