"""Known holes in the packages that kisi needs (pip-audit).

Fails if one is known. Where the database could not be asked, as without a network, that is said
loudly, and it fails with `KISI_AUDIT=strict`, which the workflows set.
"""

import json
import os
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
        packages = []
    holes = [
        f"{package['name']} {package['version']}: {hole['id']}, fixed in "
        f"{', '.join(hole['fix_versions']) or 'no version yet'}"
        for package in packages
        for hole in package.get("vulns", ())
    ]
    asked = sum("skip_reason" not in package for package in packages)
    print("\n".join([*holes, f"pip-audit: {asked} of {len(packages)} packages checked."]))
    unknown = asked < max(1, len(packages))
    if unknown:
        rule = "!" * 80
        print(f"{rule}\n!! KNOWN HOLES WERE NOT CHECKED, or not in all packages:")
        print(f"!! the database could not be asked. Run `make lint` where it can be.\n{rule}")
    return int(bool(holes) or (unknown and os.environ.get("KISI_AUDIT") == "strict"))


if __name__ == "__main__":
    sys.exit(main())
