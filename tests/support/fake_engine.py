"""Something that looks installed as SGLang and behaves like it: a log, a child process of its own, /health, vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LAUNCH_SERVER = """
import http.server, json, os, signal, subprocess, sys, time
import loopback

def value(name, default=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default

# Two of its own: one in its group, one that left it.
children = [
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=apart)
    for apart in (False, True)
]
with open(os.environ["FAKE_PIDS"], "a") as file:
    print(os.getpid(), *(child.pid for child in children), file=file)
print("server_args=" + repr(sys.argv[1:]), flush=True)
if "--crash" in sys.argv:
    print("ValueError: Loaded weights leave no memory for the KV cache.", flush=True)
    print("Received sigquit from a child process.", flush=True)
    sys.exit(3)

def end(*_):
    print("is told to end", flush=True)
    time.sleep(float(os.environ["FAKE_ENDS_IN"]))
    sys.exit()

if "FAKE_ENDS_IN" in os.environ:
    signal.signal(signal.SIGTERM, end)
born = time.monotonic()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = time.monotonic() - born > float(os.environ.get("FAKE_STARTS_IN", "0.3"))
        self.answer(200 if ready else 503, b"")

    def do_POST(self):
        texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
        self.answer(200, json.dumps(loopback.embeddings_reply(texts)).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer((value("--host"), int(value("--port"))), Handler).serve_forever()
"""


def install(folder: Path, version: str = "0.5.23") -> Path:
    """Put the engine into a folder that is to stand on PYTHONPATH, and return it."""
    package, metadata = folder / "sglang", folder / f"sglang-{version}.dist-info"
    for each in (package, metadata):
        each.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "launch_server.py").write_text(_LAUNCH_SERVER, encoding="utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: sglang\nVersion: {version}\n", encoding="utf-8")
    return folder
