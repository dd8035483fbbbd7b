"""llama.cpp's side, one process a measurement: how fast it answers by its own defaults. Prints one JSON object.

Called by `llama_cpp.py`. In an environment with xllamacpp it is that build, made for any processor of its kind; in one with llama-cpp-python,
which pip compiles where it is installed, it is one for this processor. By hand: `python -P tests/compare/llama_peer.py FILE`; without `-P`,
the scripts beside this one would be imported in llama.cpp's place.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def peak_memory() -> int:
    """Bytes. `getrusage` would also count what the parent had before this program was loaded."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the system does not tell a process's peak")


def prompts(given) -> list[list[int]]:
    return [[3 + (number * 31 + place) % 97 for place in range(given.prompt_tokens)] for number in range(given.batch)]


def by_server(given) -> dict:
    """Its own server, and what that says of its speed."""
    began = time.monotonic()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(given.file)
    params.n_ctx = given.batch * (given.prompt_tokens + given.new_tokens + 64)
    params.n_parallel = given.batch
    params.n_gpu_layers = 0
    params.warmup = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    server = xllamacpp.Server(params)
    loaded = time.monotonic() - began

    def ask(prompt: list[int]) -> dict:
        asked = {"prompt": prompt, "n_predict": given.new_tokens, "temperature": 0.0, "ignore_eos": True, "cache_prompt": False}
        return server.handle_completions(asked)["timings"]

    prefills, decodes = [], []
    with ThreadPoolExecutor(given.batch) as pool:
        for _ in range(given.repeat):
            timings = list(pool.map(ask, prompts(given)))
            # Others wait for their turn meanwhile.
            prefills.append(max(timing["prompt_per_second"] for timing in timings))
            # Those that are ready first wait while the others are read; the fastest one's pace is that of all together.
            decodes.append(given.batch * max(timing["predicted_per_second"] for timing in timings))
    return report(prefills, decodes, loaded)


def by_library(given) -> dict:
    """Its library, driven as its own benchmark does: the prompts one after the other, then a token of each at a time."""
    import llama_cpp as llama

    @llama.llama_log_callback
    def quiet(*_):
        pass

    llama.llama_log_set(quiet, None)
    began = time.monotonic()
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(str(given.file).encode(), llama.llama_model_default_params())
    settings = llama.llama_context_default_params()
    settings.n_ctx = given.batch * (given.prompt_tokens + given.new_tokens + 64)
    settings.n_seq_max = given.batch
    settings.n_threads = settings.n_threads_batch = given.threads
    context = llama.llama_init_from_model(model, settings)
    vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    batch = llama.llama_batch_init(max(given.prompt_tokens, given.batch), 0, given.batch)

    def decode(entries: list[tuple[int, int, int, bool]]) -> None:
        batch.n_tokens = len(entries)
        for index, (token, place, sequence, answers) in enumerate(entries):
            batch.token[index], batch.pos[index], batch.logits[index] = token, place, answers
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
        if llama.llama_decode(context, batch) != 0:
            raise SystemExit("llama.cpp could not go on")

    def likeliest(index: int) -> int:
        import numpy

        return int(numpy.ctypeslib.as_array(llama.llama_get_logits_ith(context, index), (vocab,)).argmax())

    decode([(3, 0, 0, True)])
    likeliest(0)
    loaded = time.monotonic() - began
    prefills, decodes = [], []
    for _ in range(given.repeat):
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        began, last = time.monotonic(), []
        for sequence, prompt in enumerate(prompts(given)):
            decode([(token, place, sequence, place + 1 == len(prompt)) for place, token in enumerate(prompt)])
            last.append(likeliest(-1))
        read = time.monotonic()
        for number in range(given.new_tokens):
            decode([(token, given.prompt_tokens + number, sequence, True) for sequence, token in enumerate(last)])
            last = [likeliest(sequence) for sequence in range(given.batch)]
        prefills.append(given.batch * given.prompt_tokens / (read - began))
        decodes.append(given.batch * given.new_tokens / (time.monotonic() - read))
    return report(prefills, decodes, loaded) | {"system": llama.llama_print_system_info().decode()}


def report(prefills: list[float], decodes: list[float], loaded: float) -> dict:
    return {
        "prefill_tokens_per_second": statistics.median(prefills),
        "decode_tokens_per_second": statistics.median(decodes),
        "load_seconds": loaded,
        "peak_memory": peak_memory(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    compiled_here = importlib.util.find_spec("llama_cpp") is not None
    print(json.dumps(by_library(given) if compiled_here else by_server(given)))
    sys.stdout.flush()
    # The server's threads have nothing to clean up.
    os._exit(0)


if __name__ == "__main__":
    main()
