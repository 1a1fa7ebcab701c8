"""The keys of the deployment itself."""
