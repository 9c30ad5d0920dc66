"""Makes ./logs and .env, so that the container writes its logs as you. Standard library only."""

import os
import sys
from pathlib import Path

SERVICE = 10001  # the image's own user, for when root runs this: no container runs as root


def main() -> None:
    """Write what is missing; what is there stays as it is."""
    uid, gid = (os.getuid(), os.getgid()) if hasattr(os, "getuid") else (SERVICE, SERVICE)
    root = uid == 0
    if root:
        uid = gid = SERVICE
    env, logs = Path(".env"), Path("logs")
    if not env.exists():
        own = {"SERVICE_UID": uid, "SERVICE_GID": gid}
        lines = Path(".env.example").read_text(encoding="utf-8").splitlines()[1:]
        lines = [f"{k}={own[k]}" if (k := line.split("=")[0]) in own else line for line in lines]
        env.write_text("\n".join([*lines, ""]), encoding="utf-8")
        print(f"wrote .env: the container runs as {uid}:{gid}")
    values = dict(x.split("=", 1) for x in env.read_text(encoding="utf-8").splitlines() if "=" in x)
    logs.mkdir(exist_ok=True)
    if root:
        os.chown(logs, int(values["SERVICE_UID"]), int(values["SERVICE_GID"]))
    elif str(logs.stat().st_uid) != values["SERVICE_UID"] and hasattr(os, "getuid"):
        sys.exit(
            f"logs/ belongs to {logs.stat().st_uid}, .env says {values['SERVICE_UID']}: "
            f"remove .env, or `sudo chown -R {uid} logs`"
        )


if __name__ == "__main__":
    main()
