"""`python -m dominie_bench.dojo SUITE`: one JSON object."""

import asyncio
import json
import sys

from dominie_bench.dojo.plain import play

print(json.dumps(asyncio.run(play(sys.argv[1]))))
