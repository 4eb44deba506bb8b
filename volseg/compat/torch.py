"""Parts of torch's loader that it does not document; seen in 2.13.0."""

from __future__ import annotations

import contextlib
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter


class BatchesOfProcesses(_MultiProcessingDataLoaderIter):
    """Batches of loader processes; ends without a traceback where it could not be made whole."""

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            super().__del__()


class ProcessLoader(DataLoader[Any]):
    """A loader whose processes may be missing in part, without a traceback when it is left."""

    def _get_iterator(self) -> Any:
        if not self.num_workers:
            return super()._get_iterator()
        self.check_worker_number_rationality()
        return BatchesOfProcesses(self)
