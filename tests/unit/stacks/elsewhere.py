"""A reader in another root: it has a recording and debug files, no program, no source, no /proc."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
_ROOT = r"""
set -e
root=$1 recording=$2 debug=$3 python=$4 hidden=$5; shift 5
mount -t tmpfs tmpfs "$root"
for one in /usr /lib /lib64 /bin /etc "$@"; do
	[ -e "$one" ] || continue
	mkdir -p "$root$one"
	mount --rbind "$one" "$root$one"
done
mkdir "$root/r.seal" "$root/debug" "$root/dev" "$root/tmp"
: > "$root/dev/null"
mount --bind /dev/null "$root/dev/null"
mount --bind "$recording" "$root/r.seal"
mount --bind "$debug" "$root/debug"
[ -z "$hidden" ] || mount -t tmpfs tmpfs "$root$hidden"
exec chroot "$root" "$python" -P -m sealsnoop script /r.seal --stacks --debug-dir /debug
"""


def read_elsewhere(
    root: Path, recording: Path, debug: Path, hidden: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """``sealsnoop script --stacks`` there; ``hidden``: a folder of ours that it does not have."""
    root.mkdir()
    folders = dict.fromkeys([sys.prefix, sys.base_prefix, str(ROOT)])
    more = [one for one in folders if not one.startswith("/usr")]
    own = ["--map-root-user"] if os.geteuid() else []
    script = ["unshare", "--mount", *own, "sh", "-c", _ROOT, "sh"]
    words = [*script, root, recording, debug, sys.executable, hidden or "", *more]
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120)
