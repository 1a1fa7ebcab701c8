"""LangGraph and LangChain agents under Dominie."""
