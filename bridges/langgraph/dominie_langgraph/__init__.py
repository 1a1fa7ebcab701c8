"""LangGraph and LangChain agents under Dominie.

`DominieMiddleware` governs a `create_agent` agent in one line; `ChatDominie` and `ToolNode` do the same for a
`StateGraph` of one's own. `widen` asks people to let the graph's run do more than it may.
"""

from dominie_langgraph._chat import ChatDominie
from dominie_langgraph._middleware import DominieMiddleware
from dominie_langgraph._runs import use_client
from dominie_langgraph._toolnode import ToolNode
from dominie_langgraph._widening import awiden, widen

__all__ = ["ChatDominie", "DominieMiddleware", "ToolNode", "awiden", "use_client", "widen"]
