"""The check that a device asked for is there."""

from __future__ import annotations

from fx2py.errors import ReplayError


def check_device(name: str | None) -> None:
    """Raise ReplayError unless a tensor can be made on the device; None (as recorded) is not checked."""
    if name is None:
        return
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).partition(". ")[0].partition("\n")[0].rstrip(".")
        raise ReplayError(
            f"the device {name!r} is not there: {reason}.",
            f"torch {torch.__version__} sees: {', '.join(_present())}.",
        ) from error


def _present() -> list[str]:
    import torch

    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None:
        return ["cpu"]
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count()))]
