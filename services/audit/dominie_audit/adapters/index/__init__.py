"""How the read model is searched: the words of an event as terms, and a selection as SQL. Pure."""
