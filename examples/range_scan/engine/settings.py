"""How an engine is set up: what clients and scans may take, and for how long."""

from __future__ import annotations

from typing import Final

import attrs

SCAN_LIFETIME: Final = 180.0
MAX_STRANGERS: Final = 256
LOGIN_TIMEOUT: Final = 10.0
MAX_ATTEMPTS: Final = 3


@attrs.frozen(kw_only=True)
class EngineSettings:
    """What an engine may do, and for whom."""

    bucket: str = "default"
    needs_login: bool = True
    """False: every client may do everything."""
    plain: bool = False
    """Whether clients may send their password as it is."""
    max_strangers: int = MAX_STRANGERS
    """Connections at a time that have not logged in."""
    login_timeout: float = LOGIN_TIMEOUT
    """Seconds that these have to do so."""
    max_attempts: int = MAX_ATTEMPTS
    """Logins that one connection may begin, and not succeed with any; at the last it is closed."""
    scan_lifetime: float = SCAN_LIFETIME
    """Seconds after which a scan is cancelled."""
