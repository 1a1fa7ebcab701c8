"""Commands, events, subjects and problems of Dominie."""
