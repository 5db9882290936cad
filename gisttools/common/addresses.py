"""Tells addresses of endpoints apart: what is one address, which host it names, and whether that is this machine."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from gisttools.common.secrets import safe_url

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def same_address(base_url: str) -> str:
    """An address as it is told, without what makes no difference: names of this machine are one, small letters in the
    host, no port that is the usual one, no slash at the end; no user name, password or key."""
    parts = urlsplit(safe_url(base_url))
    host = (parts.hostname or "").lower()
    host = "127.0.0.1" if host in _LOOPBACK else f"[{host}]" if ":" in host else host
    try:
        port = parts.port
    except ValueError:
        port = None
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    netloc = host if port in (None, usual) else f"{host}:{port}"
    return urlunsplit(parts._replace(netloc=netloc)).rstrip("/")


def host_of(base_url: str) -> str:
    """The host that an address names, without port, path, user name or key; empty where it names none."""
    return urlsplit(base_url).hostname or ""


def hosts_elsewhere(base_urls: Iterable[str]) -> tuple[str, ...]:
    """The hosts of addresses that are not on this machine, each once; what names no host is none."""
    hosts = {host_of(url): is_local(url) for url in base_urls}
    return tuple(host for host, here in hosts.items() if host and not here)


def is_local(base_url: str) -> bool:
    """Does the endpoint run on this machine? Another machine of a private network is not this one."""
    return urlsplit(base_url).hostname in _LOOPBACK
