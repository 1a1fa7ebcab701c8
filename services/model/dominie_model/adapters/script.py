r"""A script: what the scripted model answers to what. Pure: a conversation in, a reply out.

The file is a JSON list of rules. The first rule that matches answers; a conversation that none matches is refused.

    [{"when": {"last_role": "user", "user": "refund (?P<order>\\w+)", "offers": "find_order"},
      "reply": {"tool_calls": [{"name": "find_order", "arguments": {"order": "{order}"}}]}},
     {"when": {"called": ["find_order"], "tool": "price: (?P<price>[\\d.]+)"},
      "find": {"order": "refund (\\w+)"},
      "reply": {"tool_calls": [{"name": "refund",
                                "arguments": {"order": "{order}", "amount_cents": {"$cents": "{price}"}}}]}},
     {"reply": {"content": "I don't know."}, "delay_ms": 20}]

`when`: all that is given has to hold (see `When`). `find`: regexes over all user and tool messages; the last match
fills `{field}` with its first group, or with all of it. `reply`: see `Reply`. `delay_ms`: how long before the reply.
`status` and `retry_after_s`: play a failure, whose message is the reply's content.

Strings of a reply may hold `{name}`: a named group of any regex of its rule, or a field of its `find`; `{{` and `}}`
stand for braces. `{"$int": "{n}"}` and `{"$cents": "{n}"}` turn text ("1,234", "$30.50") into a whole number.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, RootModel, ValidationError

from dominie_model.adapters.conversation import Conversation
from dominie_model.adapters.script_errors import BadScript, NoRule
from dominie_model.adapters.script_rule import Answer, Rule


class Script(RootModel[tuple[Rule, ...]]):
    """A list of rules, of which the first that matches answers."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a script's file.

        Raises:
            BadScript: It cannot be read, or is no list of rules.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as fault:
            raise BadScript(path.name, str(fault.strerror)) from fault
        except ValidationError as fault:
            raise BadScript(path.name, "\n".join(_faults(fault))) from fault

    @classmethod
    def default(cls) -> Self:
        """The script that answers anything, and says how to configure a real model."""
        return cls.load(Path(__file__).with_name("default_script.json"))

    def models(self) -> tuple[str, ...]:
        """The models that the rules name, and `scripted`."""
        return tuple(sorted({rule.when.model for rule in self.root if rule.when.model} | {"scripted"}))

    def play(self, conversation: Conversation) -> Answer:
        """The first matching rule's answer.

        Raises:
            NoRule: None matches.
            Unfillable: One does, but a text that should become a number is none.
        """
        for rule in self.root:
            answer = rule.answer(conversation)
            if answer is not None:
                return answer
        raise NoRule(conversation.model, conversation.messages[-1].content[:200])


def _faults(fault: ValidationError) -> Iterator[str]:
    for error in fault.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in error["loc"])
        yield f"  {where or 'the file'}: {error['msg']}"
