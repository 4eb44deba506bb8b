"""Undocumented parts of torch's loader; found in 2.13.0."""

from __future__ import annotations

import contextlib
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter


class BatchesOfProcesses(_MultiProcessingDataLoaderIter):
    """Batches of loader processes; ends without a traceback if it was never fully built."""

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            super().__del__()


class ProcessLoader(DataLoader[Any]):
    """A loader that ends without a traceback if some of its processes could not start."""

    def _get_iterator(self) -> Any:
        if not self.num_workers:
            return super()._get_iterator()
        self.check_worker_number_rationality()
        return BatchesOfProcesses(self)
