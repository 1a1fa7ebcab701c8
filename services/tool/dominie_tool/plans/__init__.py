"""Plans: what a run was opened to do, and which of its calls have taken which step. A second aggregate of tools."""
