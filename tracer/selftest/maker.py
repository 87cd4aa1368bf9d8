"""Makes scratch files with wanted seals, in the way that this kernel and its sysctl allow."""

from tracer.model.seals import Seal
from tracer.selftest.attempt import Attempts
from tracer.selftest.scratch import Scratch
from tracer.selftest.syscalls import MFD_ALLOW_SEALING, MFD_EXEC, MFD_HUGETLB, MFD_NOEXEC_SEAL


class Maker:
    """Makes sealed scratch files in the way that this kernel, and its sysctl, allows."""

    def __init__(self, attempts: Attempts, huge: bool) -> None:
        self.attempts = attempts
        self._huge = MFD_HUGETLB if huge else 0
        self._flags = self._sealable()
        self.available = self._flags is not None

    def _sealable(self) -> int | None:
        """Creation flags for a file without any seal, or with as few as can be had.

        MFD_EXEC where it is known (6.3), as without it the kernel log gets a warning; with
        vm.memfd_noexec=2 only files that are born with F_SEAL_EXEC can be made.
        """
        for more in (MFD_EXEC, 0, MFD_NOEXEC_SEAL):
            flags = self._huge | MFD_ALLOW_SEALING | more
            try:
                Scratch(self.attempts, flags).close()
            except OSError:
                continue
            return flags
        return None

    def empty(self, flags: int | None = None) -> Scratch:
        return Scratch(self.attempts, self._flags or 0 if flags is None else self._huge | flags)

    def sized(self, units: int = 2) -> Scratch:
        file = self.empty()
        file.truncate(units * file.unit)
        return file

    def seal(self, file: Scratch, seals: int) -> bool:
        """Adds exactly these; False where this kernel does not make that set."""
        if seals & Seal.EXEC:
            file.chmod(0o666)  # on an executable file F_SEAL_EXEC brings the other seals
        missing = seals & ~file.seals
        if missing:
            file.add_seals(missing)
        return file.seals == seals

    def sealed(self, seals: int, units: int = 2) -> Scratch | None:
        """A file with exactly these seals; None, and nothing left of it, where that cannot be."""
        file = self.sized(units)
        if self.seal(file, seals):
            return file
        file.close()
        return None
