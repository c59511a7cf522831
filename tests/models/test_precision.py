"""What "auto" precision becomes: the faster of the two, and fp32 where they tie."""

import pytest
import torch

from driv3r.models.driv3r.streaming import fast_bf16


@pytest.mark.parametrize("has_amx", [True, False])
def test_cpus_take_bf16_only_with_amx(monkeypatch, has_amx):
    """With AVX-512 alone bf16 is slower: facts measured 0.20 against 0.37 TFLOP/s."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx, raising=False)
    assert fast_bf16(torch.device("cpu")) == has_amx


@pytest.mark.parametrize("native", [True, False])
def test_gpus_that_only_emulate_bf16_do_not_take_it(monkeypatch, native):
    """Volta and Turing "support" bf16, slower and less exact than fp32."""

    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert fast_bf16(torch.device("cuda")) == native
