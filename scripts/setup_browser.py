"""`make setup-browser`: find Chromium for the board's tests, or install Debian's package as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-noto-cjk")


def main() -> int:
    """0 when there is a browser now."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        print(f"browser: {found}")
        return 0
    apt = shutil.which("apt-get")
    if apt and os.geteuid() == 0:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([apt, "update", "-qq"], env=env, check=False)
        subprocess.run([apt, "install", "-y", "-qq", *PACKAGES], env=env, check=False, stdout=subprocess.DEVNULL)
        if shutil.which(NAMES[0]):
            print(f"browser: {shutil.which(NAMES[0])}")
            return 0
    print(
        "error: no Chromium for the tests of the web board\n"
        "    fix: install it (Debian: apt-get install chromium fonts-noto-cjk), or set CHROMIUM to its path;\n"
        "         everything else is tested without it: pytest -m 'not browser'",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
