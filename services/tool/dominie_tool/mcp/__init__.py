"""MCP servers: started in boxes of their own, pinned as they were accepted, called like any tool."""
