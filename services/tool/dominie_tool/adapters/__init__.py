"""Where the tool service talks to the world: tool workers, and the sandbox."""
