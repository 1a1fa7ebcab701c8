"""People who sign in with a browser: the flow with their issuer, their sessions, and what those let them see."""
