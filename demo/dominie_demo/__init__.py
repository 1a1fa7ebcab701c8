"""A refund desk, plain and under Dominie."""
