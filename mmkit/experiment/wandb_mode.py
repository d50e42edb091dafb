"""Whether Weights & Biases can be used online."""

import contextlib
import netrc
import os
import socket
from collections.abc import Mapping
from urllib.parse import urlparse
from urllib.request import getproxies

from mmkit.experiment.guarded_logger import within


_KEYS = ("WANDB_API_KEY", "WANDB_API_KEY_FILE", "WANDB_IDENTITY_TOKEN_FILE")
_SECONDS = 5.0


def wandb_mode(asked: str | None = None, environment: Mapping[str, str] = os.environ) -> str:
    """``online`` if the server can be reached and there is an API key, else ``offline``; never asks, waits a few seconds at most.

    Args:
        asked: What the configuration asks for. ``offline``, ``shared`` and ``disabled`` are left as they are, here and in
            ``$WANDB_MODE``.
        environment: Where the key, the server and the mode are looked up.
    """
    mode = asked or environment.get("WANDB_MODE") or "online"
    if mode != "online":
        return {"dryrun": "offline"}.get(mode, mode)
    url = urlparse(environment.get("WANDB_BASE_URL") or "https://api.wandb.ai")
    return "online" if _has_key(url.hostname or "", environment) and _is_reachable(url.scheme, url.netloc) else "offline"


def _has_key(host: str, environment: Mapping[str, str]) -> bool:
    if any(environment.get(name) for name in _KEYS):
        return True
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc(environment.get("NETRC")).authenticators(host) is not None
    return False


def _is_reachable(scheme: str, address: str) -> bool:
    server = urlparse(getproxies().get(scheme) or f"{scheme}://{address}")
    port = server.port or (80 if server.scheme == "http" else 443)
    try:
        within(_SECONDS, lambda: socket.create_connection((server.hostname or "", port), timeout=_SECONDS).close())
    except OSError:  # a TimeoutError is one
        return False
    return True
