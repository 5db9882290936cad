"""Has Jupyter start kernels as forks of a process that has loaded the libraries, where there is one."""

from __future__ import annotations

import os
import sys
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from gisttools.workflow.warm import server

_LAUNCHER = [sys.executable, "-m", "ipykernel_launcher"]


class ForkingManager(AsyncKernelManager):
    """Kernels are forks of `warm.server()`; those of another Python, or if it is gone, are new processes as ever."""

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
        place, source, process = self.provisioner, server(), None
        folder = str(kw.get("cwd") or os.getcwd())
        if source and isinstance(place, LocalProvisioner) and kernel_cmd[: len(_LAUNCHER)] == _LAUNCHER:
            process = source.fork(kernel_cmd[len(_LAUNCHER) :], kw.get("env") or os.environ, folder)
        if process is None:
            return await super()._async_launch_kernel(kernel_cmd, **kw)
        place.process, place.pid, place.pgid, place.cwd = process, process.pid, process.pid, folder
        self._reconcile_connection_info(place.connection_info)
