"""LangGraph and LangChain agents under Dominie.

`DominieMiddleware` governs a `create_agent` agent in one line; `ChatDominie` and `ToolNode` do the same for a
`StateGraph` of one's own.
"""

from dominie_langgraph._chat import ChatDominie
from dominie_langgraph._middleware import DominieMiddleware
from dominie_langgraph._runs import use_client
from dominie_langgraph._toolnode import ToolNode

__all__ = ["ChatDominie", "DominieMiddleware", "ToolNode", "use_client"]
