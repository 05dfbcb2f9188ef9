"""Known vulnerabilities of the pinned packages: pip-audit over constraints.txt (`make audit`).

Exit codes: 0 none is known; 1 some are, and they are named; 3 a package could not be looked up: nothing is proven.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["CLEAN", "UNPROVEN", "VULNERABLE", "judge"]

CLEAN, VULNERABLE, UNPROVEN = 0, 1, 3
ROOT = Path(__file__).resolve().parent.parent
_COMMAND = ("-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json", "--requirement")


def judge(answer: str, complaint: str) -> tuple[int, str]:
    """(exit code, what to tell) of what pip-audit wrote.

    By its table and not by its exit code: that is 0 when it found no package at all in a source that it could not reach
    or that mirrors only a part, and 1 for vulnerabilities and failures alike.
    """
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = next((line.strip() for line in reversed(complaint.splitlines()) if line.strip()), "no reason given")
        return UNPROVEN, f"not audited: pip-audit could not ask its source ({last[:300]})\n"
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    found = [
        f"{package['name']} {package['version']}: {vuln['id']}"
        + (f", fixed in {', '.join(vuln['fix_versions'])}" if vuln["fix_versions"] else ", no version has a fix")
        for package in packages
        for vuln in package.get("vulns", ())
    ]
    asked = len(packages) - len(skipped)
    told = "".join(f"{line}\n" for line in found)
    if skipped:
        some = ", ".join(skipped[:5]) + (f" and {len(skipped) - 5} more" if len(skipped) > 5 else "")
        told += f"not audited: the source does not answer about {len(skipped)} of {len(packages)} packages: {some}\n"
    if found:
        return VULNERABLE, told
    if skipped or not packages:
        return UNPROVEN, f"{told}Nothing is proven: run it where pip-audit reaches its data.\n"
    return CLEAN, f"no known vulnerability in {asked} packages\n"


def main(arguments: Sequence[str]) -> int:
    command = [sys.executable, *_COMMAND, str(ROOT / "constraints.txt"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    code, told = judge(done.stdout, done.stderr)
    (sys.stdout if code == CLEAN else sys.stderr).write(told)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
