"""Where the model service talks to the world: providers of models."""
