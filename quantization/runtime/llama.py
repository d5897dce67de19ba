"""llama.cpp's library, loaded so that it neither spins nor talks. Extra [llama]."""

import os
from typing import Any

# Idle OpenMP threads spin unless told otherwise before the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import llama_cpp as llama

__all__ = ["llama"]


@llama.llama_log_callback  # type: ignore[untyped-decorator]
def _quiet(_level: int, _text: bytes, _data: Any) -> None:
    """llama.cpp tells its life to stderr; what matters comes back as a return code."""


llama.llama_log_set(_quiet, None)
llama.llama_backend_init()
