"""What can be wrong with a script.

ScriptError
+-- BadScript   the file cannot be used
+-- NoRule      no rule matches a conversation
+-- Unfillable  a rule matches, but a text that should become a number is none
"""

from __future__ import annotations


class ScriptError(Exception):
    """Any fault of a script."""


class BadScript(ScriptError):
    """The file cannot be used.

    Attributes:
        source: The file's name.
        detail: What is wrong, one line a fault.
    """

    def __init__(self, source: str, detail: str) -> None:
        super().__init__(f"the script {source!r} cannot be used; correct:\n{detail}")
        self.source = source
        self.detail = detail


class NoRule(ScriptError):
    """No rule of the script matches.

    Attributes:
        model: The model that was asked.
        last: The end of the conversation, shortened.
    """

    def __init__(self, model: str, last: str) -> None:
        super().__init__(f"no rule of the script matches (model {model!r}, last message {last!r}); add one")
        self.model = model
        self.last = last


class Unfillable(ScriptError):
    """A text that should become a number is none.

    Attributes:
        kind: `$int` or `$cents`.
        text: The text.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"the script's {kind} needs a number, not {text!r}; correct its regex")
        self.kind = kind
        self.text = text
