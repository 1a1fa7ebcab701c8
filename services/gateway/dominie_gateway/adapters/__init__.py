"""HTTP: the API, the live page, the server."""
