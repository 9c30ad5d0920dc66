"""Makes ./logs and .env, so that the container writes its logs as you. Standard library only."""

import os
import re
import sys
from pathlib import Path

SERVICE = 10001  # the image's own user, for when root runs this: no container runs as root


def main() -> None:
    """Write what is missing; what is there stays as it is."""
    posix = hasattr(os, "getuid")
    root = posix and os.getuid() == 0
    uid, gid = (os.getuid(), os.getgid()) if posix and not root else (SERVICE, SERVICE)
    env, logs = Path(".env"), Path("logs")
    if not env.exists():
        text = Path(".env.example").read_text(encoding="utf-8").split("\n", 1)[1]
        text = text.replace("SERVICE_UID=10001", f"SERVICE_UID={uid}")
        env.write_text(text.replace("SERVICE_GID=10001", f"SERVICE_GID={gid}"), encoding="utf-8")
        print(f"wrote .env: the container runs as {uid}:{gid}")
    found = re.findall(r"^SERVICE_[UG]ID=(\d+)$", env.read_text(encoding="utf-8"), re.MULTILINE)
    if len(found) != 2 or "0" in found:
        sys.exit(".env must have SERVICE_UID and SERVICE_GID, and not 0: remove it, `make init`")
    logs.mkdir(exist_ok=True)
    if root:
        os.chown(logs, int(found[0]), int(found[1]))
    elif posix and logs.stat().st_uid != int(found[0]):
        sys.exit(f"logs/ is not of user {found[0]}, as .env says: `sudo chown -R {found[0]} logs`")


if __name__ == "__main__":
    main()
