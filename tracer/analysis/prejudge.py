"""Judges batches in the thread that reads them, while the fold counts those before."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tracer.analysis.batch import Array, Batch
from tracer.analysis.judge import Judge
from tracer.analysis.keytable import KeyTable
from tracer.analysis.objects import ORDER_UNKNOWN, OWNER_UNKNOWN, Objects, packed
from tracer.model.verdicts import Outcome

OUTCOME = "outcome"
"""The column that it adds: places in :attr:`Prejudge.outcomes`, -1 for what is no decision."""


class Prejudge:
    """A judge of one source whose objects are all announced; called with batch after batch.

    It shares nothing that changes with the fold, so one thread may call it and another count.
    """

    def __init__(self, variants: Mapping[str, str], objects: Objects, host: int) -> None:
        self._judge = Judge(variants)
        self._keys = KeyTable(2)
        ino, dev_gen, hosts = (objects.keys.key(place) for place in range(3))
        mine = (hosts == host).nonzero()[0]
        ids = self._keys.ids(ino[mine], dev_gen[mine])
        # One place more, for objects that were never announced: -1 takes the last.
        self._order = np.full(len(ids) + 1, ORDER_UNKNOWN, np.uint8)
        self._owner = np.full(len(ids) + 1, OWNER_UNKNOWN, np.uint32)
        self._order[ids] = objects.known["order"][mine]
        self._owner[ids] = objects.known["owner"][mine]

    @property
    def outcomes(self) -> list[Outcome]:
        """What the numbers in the added column mean; it grows."""
        return self._judge.outcomes

    def __call__(self, batch: Batch) -> Batch:
        """The batch with the column :data:`OUTCOME`."""
        ids = self._keys.find(batch["ino"], packed(batch["dev"], batch["gen"]))
        columns: dict[str, Array] = {
            **batch.columns,
            "folio_order_max": self._order[ids],
            "owner_uid": self._owner[ids],
        }
        codes: npt.NDArray[np.int32] = self._judge.codes(columns)
        return Batch(batch.source, {**batch.columns, OUTCOME: codes}, batch.comms)
