"""What the official `openai` client makes of `run serve`, on the demo model.

First the blocks of docs/serving.md, whose output must be what the text block
after each says; then what a client sees of streams, errors and cancels.
"""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import openai
from openai import OpenAI

ROOT = Path(__file__).resolve().parent.parent.parent
RUN = ROOT / "target/debug/run"
MODEL = ROOT / "cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"
DOCUMENT = ROOT / "docs/serving.md"
DOCUMENTED = "http://127.0.0.1:8080"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
BLOCKS = re.compile(r"```(sh|python)\n(.*?)```\n+```text\n(.*?)```", re.DOTALL)


class Server:
    """A server on a free port, as long as the block lasts."""

    def __init__(self, *flags):
        command = [RUN, "serve", "-m", MODEL, "--device", "cpu", "--port", "0", *flags]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KCACHE_")}
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.address = None

    def __enter__(self):
        for line in self.process.stderr:
            if line.startswith("serving:"):
                self.address = line.split()[1]
                break
        else:
            sys.exit("the server did not start")
        # Nobody reads the log, and a full pipe would block its writer.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        code = self.process.wait(timeout=10)
        assert code == 130, f"the server ended with {code}"

    def client(self, **options):
        return OpenAI(base_url=f"{self.address}/v1", api_key="none", **options)


def check_document(server):
    blocks = BLOCKS.findall(DOCUMENT.read_text())
    assert len(blocks) == 3, f"{len(blocks)} blocks with their output"
    programs = {"sh": ["sh", "-c"], "python": [sys.executable, "-c"]}
    for language, source, expected in blocks:
        source = source.replace(DOCUMENTED, server.address)
        command = [*programs[language], source]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        assert done.stdout == expected, f"{source}\nprinted {done.stdout!r}"


def check_streams(client):
    model = client.models.list().data[0].id
    whole = client.chat.completions.create(model=model, messages=QUESTION)
    stream = client.chat.completions.create(
        model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content, text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert not last.choices and last.usage == whole.usage, last


def check_errors(server):
    client = server.client(max_retries=0)
    ask = client.chat.completions.create
    for error, code, options in [
        (openai.NotFoundError, "model_not_found", {"model": "other"}),
        (openai.BadRequestError, "unsupported_parameter", {"logprobs": True}),
        (openai.BadRequestError, "unsupported_parameter", {"n": 2}),
        (
            openai.BadRequestError,
            "context_length_exceeded",
            {"messages": [{"role": "user", "content": "word " * 2000}]},
        ),
    ]:
        request = {"model": server.model, "messages": QUESTION, **options}
        try:
            ask(**request)
        except error as refusal:
            assert refusal.code == code, refusal
        else:
            raise AssertionError(f"{options} was not refused")


def check_retries(server):
    """A client that was refused for want of a place comes back by itself."""
    client = server.client(max_retries=20)
    request = {"model": server.model, "prompt": "Once upon a time"}
    stream = client.completions.create(**request, max_tokens=1000, stream=True)
    next(iter(stream))
    threading.Timer(0.5, stream.close).start()
    text = client.completions.create(**request, max_tokens=2).choices[0].text
    assert text, "an answer once the first client has left"


def main():
    with Server("-c", "1024") as server:
        check_document(server)
        check_streams(server.client())
        server.model = server.client().models.list().data[0].id
        check_errors(server)
    with Server("-c", "1024", "--parallel", "1", "--queue", "0") as server:
        server.model = server.client().models.list().data[0].id
        check_retries(server)
    print(f"run serve: the openai client {openai.__version__} is content")


if __name__ == "__main__":
    main()
