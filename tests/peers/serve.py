"""Serves one peer on a free port of loopback: `serve.py moto | ministack | microburst UPSTREAM`.

The first line on standard output is the port. The peer ends with its standard input, so that it never outlives the
test that started it, however that test ends.
"""

import os
import re
import socket
import sys
import threading

LOOPBACK = "127.0.0.1"


def end_with_stdin():
    """Reads until the test is gone."""

    def watch():
        while sys.stdin.buffer.read(4096):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def epoch_timestamps(app):
    """A WSGI wrapper: DMS's answers carry ISO texts where the JSON protocol has seconds since the epoch."""
    from datetime import datetime, timezone

    stamp = re.compile(rb'"(\w*(?:Date|Time))": "(\d{4}-\d\d-\d\d[T ][0-9:.]+)(?:Z|\+00:00)?"')

    def seconds(found):
        when = datetime.fromisoformat(found[2].decode()).replace(tzinfo=timezone.utc)
        return b'"%s": %f' % (found[1], when.timestamp())

    def wrapped(environ, start_response):
        if not environ.get("HTTP_X_AMZ_TARGET", "").startswith("AmazonDMS"):
            return app(environ, start_response)
        begun = []
        body = b"".join(app(environ, lambda status, headers, info=None: begun.append((status, headers))))
        body = stamp.sub(seconds, body)
        status, headers = begun[0]
        headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        start_response(status, headers + [("Content-Length", str(len(body)))])
        return [body]

    return wrapped


def moto():
    from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    app = epoch_timestamps(DomainDispatcherApplication(create_backend_app))
    server = make_server(LOOPBACK, 0, app, threaded=True, request_handler=MotoRequestHandler)
    print(server.port, flush=True)
    server.serve_forever()


def ministack():
    import asyncio

    listener = socket.create_server((LOOPBACK, 0))
    port = listener.getsockname()[1]
    # Its MQTT listener would bind every interface.
    os.environ.update(BIND_HOST=LOOPBACK, GATEWAY_PORT=str(port), LOG_LEVEL="ERROR", IOT_MTLS_ENABLED="0")
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.loglevel = "ERROR"
    print(port, flush=True)
    asyncio.run(serve(app, config))


def microburst():
    from aiohttp import web
    from microburst.app import Microburst, make_app

    listener = socket.create_server((LOOPBACK, 0))
    print(listener.getsockname()[1], flush=True)
    web.run_app(make_app(Microburst(sys.argv[2], rules=[], resign=False)), sock=listener, print=None)


end_with_stdin()
{"moto": moto, "ministack": ministack, "microburst": microburst}[sys.argv[1]]()
