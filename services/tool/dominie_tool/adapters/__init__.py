"""Where the tool service talks to the world: tool workers, artifacts, and processes apart."""
