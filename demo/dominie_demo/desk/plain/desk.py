"""A refund desk: reads the mailbox and answers each ticket that has no answer yet."""

import json
import os
from pathlib import Path

import ledger
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

PROMPT = """You are the refund desk of a small shop. Look an order up before you act on it.
Refund what the customer asks for, up to what they paid. Answer in one or two sentences."""


def lookup_order(order: str) -> dict:
    """Look up an order: who bought it, their e-mail address, and what they paid."""
    return ledger.lookup_order(order)


def list_customers() -> list:
    """List every customer with their e-mail address."""
    return ledger.list_customers()


def refund(order: str, amount_cents: int) -> str:
    """Pay back an amount, in cents, for an order."""
    return ledger.refund(order, amount_cents)


def send_mail(to: str, subject: str, body: str) -> str:
    """Send an e-mail."""
    return ledger.send_mail(to, subject, body)


agent = create_agent(
    ChatOpenAI(model=os.environ.get("DESK_MODEL", "auto")),
    [lookup_order, list_customers, refund, send_mail],
    system_prompt=PROMPT,
)

answers = Path("answers.jsonl")
answers.touch()
done = {json.loads(line)["ticket"] for line in answers.read_text().splitlines()}
for ticket in json.loads(Path("mailbox.json").read_text()):
    if ticket["id"] in done:
        continue
    message = {"role": "user", "content": ticket["text"], "id": ticket["id"]}
    config = {"configurable": {"thread_id": ticket["id"], "user": ticket["from"]}}
    answer = agent.invoke({"messages": [message]}, config)["messages"][-1]
    with answers.open("a") as file:
        file.write(json.dumps({"ticket": ticket["id"], "answer": answer.text, **answer.response_metadata}) + "\n")
