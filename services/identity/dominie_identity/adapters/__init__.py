"""Where identity talks to the world: signed tokens, and the broker's auth callout."""
