"""How long a neighbour waits while somebody else's prompt of 30 MiB is read and refused, beside the same on an idle daemon.

    .venv/bin/python tests/compare/long_prompt.py [--mib 30] [--rounds 10] [--base FOLDER] [--binary PROGRAM]

A neighbour asks for a short answer again and again; from another process, a long prompt is sent in the middle of it. Its wait is counted from the
first byte of the long prompt to the refusal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hotplate_process import Hotplate, short_folder
from raw_client import RawClient

#: Run in a process of its own, so that neither client waits for the other one's interpreter.
SENDER = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from raw_client import RawClient
with RawClient(Path(sys.argv[2]), timeout=600) as client:
    client.session()
    params = json.loads(sys.argv[3]) | {"prompt": "soup " * (int(sys.argv[4]) * 1024 * 1024 // 5)}
    body = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "generate/start", "params": params}).encode()
    client.next_id = 3
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.monotonic()
    client.send_body(body)
    answer = client.reply(2)
    print(json.dumps([begun, time.monotonic(), answer.get("error", {}).get("message", "answered")]), flush=True)
"""


def ask(client: RawClient, params: dict) -> tuple[float, float]:
    begun = time.monotonic()
    client.call("generate/start", params)
    return begun, time.monotonic()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--base")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--binary", type=Path)
    given = parser.parse_args()
    hotplate = Hotplate(short_folder(), given.binary)
    base = {"base": given.base} if given.base else {}
    params = base | {"prompt": "Bread", "raw": True, "sampling": {"max_tokens": given.tokens, "ignore_eos": True, "seed": 1}}
    idle, beside, took, said = [], [], [], ""
    try:
        hotplate.run("generate", "--max-tokens", 1, *(["--base", given.base] if given.base else []), "Bread")
        with RawClient(hotplate.socket, timeout=600) as neighbour:
            neighbour.session()
            for _ in range(20):
                ask(neighbour, params)
            for _ in range(given.rounds):
                words = [str(Path(__file__).resolve().parent.parent), str(hotplate.socket), json.dumps(base), str(given.mib)]
                sender = subprocess.Popen([sys.executable, "-c", SENDER, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                assert sender.stdout.readline() == "ready\n"
                idle += [end - begun for begun, end in (ask(neighbour, params) for _ in range(20))]
                sender.stdin.write("\n")
                sender.stdin.flush()
                waits = [ask(neighbour, params)]
                while sender.poll() is None:
                    waits.append(ask(neighbour, params))
                begun, ended, said = json.loads(sender.stdout.read())
                took.append(ended - begun)
                beside += [end - start for start, end in waits if end > begun and start < ended]
        hotplate.run("stop")
    finally:
        hotplate.close()
    ms = lambda seconds: f"{seconds * 1e3:.1f} ms"
    print(f"the long prompt: {said[:160]!r} after {ms(statistics.median(took))} (median of {len(took)})")
    for name, waits in [("idle", idle), ("beside", beside)]:
        print(f"{name:7} {len(waits):5} answers: median {ms(statistics.median(waits))}, mean {ms(statistics.mean(waits))}, longest {ms(max(waits))}")
    print(f"median beside / median idle: {statistics.median(beside) / statistics.median(idle):.2f}; mean: {statistics.mean(beside) / statistics.mean(idle):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
