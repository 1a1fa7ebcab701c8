"""The tool worker of the attacks: it owns the environment of every run, and says how a run went when it is asked.

It prints `ready`; then it answers each run's id, a line, with AgentDojo's own verdict, a line of JSON.
"""

import asyncio
import json
import sys
import warnings
from collections.abc import AsyncIterator
from dataclasses import asdict

from dominie._config import find
from dominie._register import make_link
from dominie._worker import Worker
from dominie_bench.dojo.bank import Bank
from dominie_bench.dojo.order import Order


async def _main(order: Order) -> None:
    bank, link, stop = Bank(), make_link(find("w", "dojo")), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            Worker(link, bank.tools(order.suites, marked=True)).run(stop, lambda: print("ready", flush=True))
        )
        async for run in _lines():
            print(json.dumps(asdict(bank.judge(run))), flush=True)
        stop.set()
    await link.close()


async def _lines() -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        yield line.decode().strip()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(_main(Order.model_validate_json(sys.argv[1])))
