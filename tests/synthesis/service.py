"""A service that speaks OpenAI's protocol, on this machine, and misbehaves on demand."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOPICS = (
    "the ward round", "a long train journey", "her second visit", "the summer camp",
    "an autumn survey", "the night shift", "his final examination", "a village clinic",
)  # fmt: skip


def good_answer(code, n=3, first=0):
    """Sentences that all rules accept, different in each call with another `first`."""
    title = code.replace(":", " ")
    return "\n".join(
        f"example: During {TOPICS[(first + i) % len(TOPICS)]} doctors wrote down that "
        f"[{title.lower()} number {'abcdefgh'[(first + i) % 8]}] had changed since last week."
        for i in range(n)
    )


class Service:
    """Counts what it is asked, and answers as `behave` says.

    behave(code, times): what to do when asked for a concept for the nth time, from 1 on: a string
    is an answer; ("status", 429, headers) a status; "drop" closes the connection, "cut" in the
    middle of the body, "hang" says nothing for a while, ("raw", body) is sent as it is.

    counts: requests by code. billed: answers that were made, whether or not they arrived. tokens:
    of answers, as they were billed. busiest: requests at the same time.
    """

    def __init__(self, behave=None):
        self.behave = behave or (lambda code, times: good_answer(code))
        self.counts, self.billed = Counter(), Counter()
        self.prompt_tokens = self.completion_tokens = self.busiest = 0
        self.bodies, self.headers, self.moments = [], [], []
        self.delay = 0.0
        self._now = 0
        self._lock = threading.Lock()
        self._end = threading.Event()

    def __enter__(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                service.handle(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # clients that do not wait for the end
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self.server.shutdown()
        self.server.server_close()

    def handle(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        user = body["messages"][-1]["content"]
        code = re.search(r"^\w+ ?: (.*)$", user, re.MULTILINE)[1]
        with self._lock:
            self.counts[code] += 1
            times = self.counts[code]
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
            self.moments.append(time.monotonic())
            self._now += 1
            self.busiest = max(self.busiest, self._now)
        try:
            time.sleep(self.delay)
            self._answer(handler, code, times, self.behave(code, times))
        finally:
            with self._lock:
                self._now -= 1

    def _answer(self, handler, code, times, what):
        if what == "drop":
            handler.close_connection = True
            handler.connection.shutdown(2)
            return
        if isinstance(what, tuple) and what[0] == "status":
            _, status, headers = what
            error = {"error": {"message": f"not now ({status})", "code": headers.pop("code", None)}}
            self._send(handler, status, json.dumps(error), headers)
            return
        with self._lock:
            self.billed[code] += 1
        if what == "hang":
            self._end.wait(10)
            return
        if isinstance(what, tuple):
            self._send(handler, 200, what[1])
            return
        text = good_answer(code, first=3 * times) if what == "cut" else what
        tokens = 900 + len(code), len(text) // 4
        with self._lock:
            self.prompt_tokens += tokens[0]
            self.completion_tokens += tokens[1]
        content = completion(text, *tokens)
        if what == "cut":
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content.encode()[:40])
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(2)
            return
        self._send(handler, 200, content)

    def _send(self, handler, status, body, headers=()):
        data = body.encode()
        handler.send_response(status)
        for key, value in dict(headers).items():
            handler.send_header(key, value)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


def completion(text, prompt_tokens, completion_tokens, finish="stop"):
    return json.dumps(
        {
            "id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": text},
                }
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }
    )  # fmt: skip
