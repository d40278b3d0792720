"""Whether this container answers: /health of the server, or (--port) a TCP connection. Exit code 0 or 1."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import urllib.request

TIMEOUT_S = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="only connect to this port of the machine's own address")
    port = parser.parse_args().port
    try:
        if port:
            socket.create_connection((socket.gethostbyname(socket.gethostname()), port), TIMEOUT_S).close()
            return 0
        url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/health"
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
