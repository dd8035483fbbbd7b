"""What `generate` promises, on the embedded base."""

from __future__ import annotations

import json

import pytest
from raw_client import RawClient

PROMPT = "Write a short note about a bakery."


def ask(hotplate, *words: object, prompt: str = PROMPT) -> dict:
    return hotplate.run("generate", "--json", *words, prompt).last


def test_the_same_seed_the_same_text(shared_hotplate):
    words = ["--temperature", 1, "--max-tokens", 30]
    one, again, other = (ask(shared_hotplate, *words, "--seed", seed) for seed in (1, 1, 2))
    assert one["token_ids"] == again["token_ids"]
    assert one["token_ids"] != other["token_ids"]


def test_a_drawn_seed_is_said_and_can_be_used_again(shared_hotplate):
    words = ["--temperature", 1, "--max-tokens", 30]
    drawn = ask(shared_hotplate, *words)
    assert ask(shared_hotplate, *words, "--seed", drawn["seed"])["token_ids"] == drawn["token_ids"]
    assert len({ask(shared_hotplate, *words)["seed"] for _ in range(3)}) == 3


def test_top_k_one_and_a_tiny_top_p_are_greedy(shared_hotplate):
    greedy = ask(shared_hotplate, "--temperature", 0, "--max-tokens", 20)["token_ids"]
    for words in (["--top-k", 1], ["--top-p", 0.000001]):
        assert ask(shared_hotplate, "--temperature", 1, "--max-tokens", 20, *words)["token_ids"] == greedy


def test_a_penalty_changes_the_text(shared_hotplate):
    words = ["--temperature", 0, "--max-tokens", 60, "--ignore-eos"]
    plain = ask(shared_hotplate, *words)["token_ids"]
    penalised = ask(shared_hotplate, *words, "--repetition-penalty", 5)["token_ids"]
    assert len(set(penalised)) > len(set(plain))


def test_lengths_and_reasons(shared_hotplate):
    short = ask(shared_hotplate, "--temperature", 0, "--max-tokens", 3)
    assert len(short["token_ids"]) == 3 and short["finish_reason"] == "length"
    ended = ask(shared_hotplate, "--temperature", 0, "--max-tokens", 250)
    assert ended["finish_reason"] == "stop" and len(ended["token_ids"]) < 250
    longer = ask(shared_hotplate, "--temperature", 0, "--max-tokens", 250, "--ignore-eos")
    assert longer["finish_reason"] == "length" and len(longer["token_ids"]) == 250


def test_the_end_of_the_context_is_an_end_not_an_error(shared_hotplate):
    answer = ask(shared_hotplate, "--temperature", 0, "--max-tokens", 1_000_000, "--ignore-eos")
    assert answer["finish_reason"] == "length"
    assert answer["prompt_tokens"] + len(answer["token_ids"]) > 200


def test_a_prompt_longer_than_the_context_is_said(shared_hotplate):
    shared_hotplate.fails("generate", "--raw", "-", stdin="word " * 30_000, naming=["token", "shorten"])
    shared_hotplate.fails("generate", "-", stdin="word " * 14_000_000, naming=["70 MB", "more than the daemon reads at once (67 MB)"])


def test_stop_texts(shared_hotplate):
    words = ["--temperature", 0, "--max-tokens", 60]
    whole = ask(shared_hotplate, *words)["text"]
    # In the middle of a word, so that it does not lie on the border of tokens.
    stop = whole[20:24]
    result = shared_hotplate.run("generate", "--json", *words, "--stop", "never in it", "--stop", stop, PROMPT)
    *deltas, last = result.lines
    assert last["text"] == whole[: whole.index(stop)] and last["finish_reason"] == "stop"
    assert "".join(delta["delta"] for delta in deltas) == last["text"], "a part of the stop text slipped out"


def test_streamed_text_is_whole_characters_and_complete(shared_hotplate):
    prompt = "写一段关于面馆的短文。"
    result = shared_hotplate.run("generate", "--json", "--temperature", 0, "--max-tokens", 80, prompt)
    *deltas, last = result.lines
    assert any("\u4e00" <= each <= "\u9fff" for each in last["text"]), last["text"]
    assert all("\ufffd" not in delta["delta"] for delta in deltas)
    assert "".join(delta["delta"] for delta in deltas) == last["text"]
    shown = shared_hotplate.run("generate", "--temperature", 0, "--max-tokens", 80, prompt).out
    assert shown.strip() == last["text"].strip()


def test_characters_of_several_tokens_are_never_split(shared_hotplate, checkpoint):
    """A random model writes byte salad: what is no UTF-8 becomes U+FFFD once, and what is arrives whole."""
    from transformers import AutoTokenizer

    base = checkpoint("multi-head")
    tokenizer = AutoTokenizer.from_pretrained(base)
    for seed in range(4):
        words = ["--base", base, "--raw", "--temperature", 3, "--seed", seed, "--max-tokens", 120, "--ignore-eos"]
        result = shared_hotplate.run("generate", "--json", *words, "Hello")
        *deltas, last = result.lines
        assert "".join(delta["delta"] for delta in deltas) == last["text"]
        assert last["text"] == tokenizer.decode(last["token_ids"], skip_special_tokens=True)


def test_raw_continues_and_chat_answers(shared_hotplate):
    raw = ask(shared_hotplate, "--raw", "--temperature", 0, "--max-tokens", 10)
    chat = ask(shared_hotplate, "--temperature", 0, "--max-tokens", 10)
    assert raw["prompt_tokens"] < chat["prompt_tokens"]


def test_the_prompt_from_standard_input(shared_hotplate):
    words = ["--temperature", 0, "--max-tokens", 12]
    piped = shared_hotplate.run("generate", "--json", *words, "-", stdin=PROMPT).last
    assert piped["token_ids"] == ask(shared_hotplate, *words)["token_ids"]


def test_an_unknown_adapter_is_named_with_a_remedy(shared_hotplate):
    shared_hotplate.fails("generate", "-a", "nobody", PROMPT, naming=["nobody", "hotplate train"])


class TestCancel:
    def test_a_cancelled_request_is_answered_once(self, shared_hotplate):
        shared_hotplate.run("models")
        with RawClient(shared_hotplate.socket) as client:
            client.session()
            sampling = {"max_tokens": 2000, "ignore_eos": True}
            request = client.send("generate/start", {"prompt": PROMPT, "sampling": sampling})
            assert client.notification("generate/delta")["id"] == request
            client.send("$/cancelRequest", {"id": request}, notification=True)
            assert client.reply(request)["error"]["code"] == -32800
            # A late or foolish cancellation changes nothing, and no second answer comes.
            for foreign in (request, 12345, "nobody"):
                client.send("$/cancelRequest", {"id": foreign}, notification=True)
            client.notifications.clear()
            assert client.call("daemon/status")["generating"] == 0
            assert [message for message in client.notifications if message["method"] == "generate/delta"] == []

    def test_a_client_that_leaves_takes_its_request_along(self, shared_hotplate):
        shared_hotplate.run("models")
        sampling = {"max_tokens": 2000, "ignore_eos": True}
        with RawClient(shared_hotplate.socket) as client:
            client.session()
            client.send("generate/start", {"prompt": PROMPT, "sampling": sampling})
            client.notification("generate/delta")
        with RawClient(shared_hotplate.socket) as client:
            client.session()
            for _ in range(100):
                if client.call("daemon/status")["generating"] == 0:
                    break
            else:
                pytest.fail("the daemon goes on writing for nobody")

    def test_several_at_once_do_not_mix(self, shared_hotplate):
        shared_hotplate.run("models")
        with RawClient(shared_hotplate.socket, timeout=60) as client:
            client.session()
            sampling = {"max_tokens": 40, "temperature": 0.0, "ignore_eos": True}
            prompts = [f"Write about number {number}." for number in range(4)]
            requests = [client.send("generate/start", {"prompt": prompt, "sampling": sampling}) for prompt in prompts]
            results, texts = {}, dict.fromkeys(requests, "")
            while len(results) < 4:
                message = client.receive()
                if "method" in message:
                    texts[message["params"]["id"]] += message["params"]["text"]
                else:
                    assert message["id"] not in results, "two answers to one request"
                    results[message["id"]] = message["result"]
            for request, prompt in zip(requests, prompts, strict=True):
                assert results[request]["text"] == texts[request]
                alone = client.call("generate/start", {"prompt": prompt, "sampling": sampling})
                assert alone["token_ids"] == results[request]["token_ids"], json.dumps(alone)[:300]
