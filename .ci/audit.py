"""Known holes in the packages that kisi needs (pip-audit).

Fails if one is known. Packages that the database could not be asked about are counted and pass: the
check needs the network, and the rest of `make lint` does not.
"""

import json
import subprocess
import sys


def main() -> int:
    """Reads pip-audit's JSON."""
    arguments = [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner=off"]
    arguments += ["--timeout=10", "--format=json"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print("pip-audit could not ask its database; known holes were not checked.")
        return 0
    for package in packages:
        for hole in package.get("vulns", ()):
            print(
                f"{package['name']} {package['version']}: {hole['id']}, fixed in "
                f"{', '.join(hole['fix_versions']) or 'no version yet'}"
            )
    asked = [package for package in packages if "skip_reason" not in package]
    print(f"pip-audit: {len(asked)} of {len(packages)} packages could be checked.")
    return 1 if any(package.get("vulns") for package in packages) else 0


if __name__ == "__main__":
    sys.exit(main())
