"""Answers that are written at the same time: each is what it is alone, whoever comes, goes or fails beside it."""

from __future__ import annotations

import pytest
from raw_client import RawClient
from test_peft import CONFIGS, made_by_peft


@pytest.fixture(scope="module")
def asks(checkpoint, tmp_path_factory):
    """Twenty requests, more than go through the base in one pass: three adapters and none, likeliest tokens and drawn ones."""
    base = checkpoint("plain")
    folder = tmp_path_factory.mktemp("adapters")
    configs = ["all-linear", "attention", "mlp, rank 1"]
    adapters = [None, *(str(made_by_peft(base, folder / str(at), **CONFIGS[name])) for at, name in enumerate(configs))]
    return [
        {
            "prompt": "It's raining again. " * (1 + number % 6),
            "base": str(base),
            "adapter": adapters[number % 4],
            "raw": True,
            "sampling": {
                "temperature": 1.0 if number % 3 else 0.0,
                "seed": number,
                "max_tokens": 10 + number,
                "ignore_eos": True,
            },
        }
        for number in range(20)
    ]


def gather(client: RawClient, requests: list[int]) -> tuple[dict[int, dict], dict[int, str]]:
    """The reply to each request, exactly one, and what was streamed for it."""
    replies: dict[int, dict] = {}
    streamed = dict.fromkeys(requests, "")
    while len(replies) < len(requests):
        message = client.receive()
        if message.get("method") == "generate/delta":
            streamed[message["params"]["id"]] += message["params"]["text"]
        elif "method" not in message:
            assert message["id"] not in replies, "two answers to one request"
            replies[message["id"]] = message
    return replies, streamed


def test_answers_together_are_those_alone(shared_hotplate, asks):
    shared_hotplate.run("models")
    with RawClient(shared_hotplate.socket, timeout=60) as client:
        client.session()
        alone = [client.call("generate/start", ask) for ask in asks]
        # The same question, without an adapter and with one.
        assert alone[0]["token_ids"][:8] != alone[6]["token_ids"][:8]
        requests = [client.send("generate/start", ask) for ask in asks]
        replies, streamed = gather(client, requests)
        for request, wanted in zip(requests, alone, strict=True):
            found = replies[request]["result"]
            assert found["token_ids"] == wanted["token_ids"]
            assert found["text"] == wanted["text"] == streamed[request]
            assert found["adapter"] == wanted["adapter"] and found["seed"] == wanted["seed"]


def test_one_that_is_cancelled_and_one_that_fails_leave_the_others_alone(shared_hotplate):
    shared_hotplate.run("models")
    ask = {"prompt": "Write a short note about a bakery."}
    drawn = {"temperature": 1.0, "seed": 4, "max_tokens": 60, "ignore_eos": True}
    with RawClient(shared_hotplate.socket, timeout=60) as client:
        client.session()
        wanted = client.call("generate/start", {**ask, "sampling": drawn})
        client.notifications.clear()
        endless = client.send("generate/start", {**ask, "sampling": {"max_tokens": 2000, "ignore_eos": True}})
        assert client.notification("generate/delta")["id"] == endless
        other = client.send("generate/start", {**ask, "sampling": drawn})
        nobody = client.send("generate/start", {**ask, "adapter": "/nowhere"})
        client.send("$/cancelRequest", {"id": endless}, notification=True)
        replies, _ = gather(client, [endless, other, nobody])
        assert replies[endless]["error"]["code"] == -32800
        assert "nowhere" in replies[nobody]["error"]["message"]
        assert replies[other]["result"]["token_ids"] == wanted["token_ids"]


def test_several_texts_of_one_command_are_those_of_several_commands(shared_hotplate):
    words = ["--temperature", 1, "--max-tokens", 20, "--seed", 5, "A bakery."]
    together = shared_hotplate.run("generate", "--json", "--n", 10, *words).lines
    assert [answer["seed"] for answer in together] == list(range(5, 15))
    last = shared_hotplate.run("generate", "--json", *words[:-2], 14, words[-1]).last
    assert together[-1]["token_ids"] == last["token_ids"]
