"""AgentDojo behind Dominie: its tools in a tool worker, and agents that play its tasks over the bus.

These programs run where agentdojo is installed, `tests/bench/.venv`:

    python -m dominie_bench.dojo SUITE        plays a suite's ground truth; prints one JSON object
    python -m dominie_bench.dojo.agent ORDER  plays pairs of tasks as a hijacked agent; prints a line for each
    python -m dominie_bench.dojo.worker       owns the environments of those pairs, and judges them
"""
