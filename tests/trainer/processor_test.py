import pytest
import tensorflow as tf

from trainer import processor
from trainer.processor import BFLOAT16_OPTION, bfloat16_rewrite


def option() -> bool:
    return tf.config.optimizer.get_experimental_options().get(BFLOAT16_OPTION, False)


@pytest.mark.parametrize("supported", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_bfloat16_is_used_where_wanted_and_supported(wanted, supported, monkeypatch) -> None:
    monkeypatch.setattr(processor, "_has_bfloat16", lambda: supported)
    with bfloat16_rewrite(wanted):
        assert option() is (wanted and supported)
    assert option() is False


@pytest.mark.parametrize("before", [True, False])
def test_the_option_is_as_before_when_training_fails(before, monkeypatch) -> None:
    monkeypatch.setattr(processor, "_has_bfloat16", lambda: True)
    tf.config.optimizer.set_experimental_options({BFLOAT16_OPTION: before})
    try:
        with pytest.raises(RuntimeError), bfloat16_rewrite(not before):
            raise RuntimeError
        assert option() is before
    finally:
        tf.config.optimizer.set_experimental_options({BFLOAT16_OPTION: False})


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        (None, False),
    ],
)
def test_bfloat16_is_read_off_the_processor_flags(cpuinfo, expected: bool, tmp_path, monkeypatch) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert processor._has_bfloat16() is expected
