"""Products by oneDNN are those of float64, and everything that it is not meant for stays with torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from plugtune.training import products

ONEDNN = torch.ops.mkldnn._linear_pointwise if torch.backends.mkldnn.is_available() else None


@pytest.fixture
def on_amd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A processor that oneDNN is chosen on, whichever this is."""
    if ONEDNN is None:
        pytest.skip("this torch has no oneDNN")
    described(monkeypatch, tmp_path, "AuthenticAMD")
    monkeypatch.setattr(products, "WORTH_IT", 1)
    yield
    products._onednn.cache_clear()


def described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n", encoding="utf-8")
    monkeypatch.setattr(products, "CPUINFO", cpuinfo)
    products._onednn.cache_clear()


def numbers(*sizes: int) -> torch.Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(sum(sizes)))


@pytest.mark.usefixtures("on_amd")
@pytest.mark.parametrize("at_a_time", [2**23, 100])
@pytest.mark.parametrize("given", [False, True])
def test_products_are_the_true_ones(monkeypatch: pytest.MonkeyPatch, at_a_time: int, given: bool) -> None:
    monkeypatch.setattr(products, "AT_A_TIME", at_a_time)
    x, weight, bias = numbers(13, 24), numbers(40, 24), numbers(40)
    assert products.faster(x, weight)
    for w, b in ((weight, None), (weight, bias), (numbers(24, 40).t(), bias)):
        expected = x.double() @ w.double().t() + (0 if b is None else b.double())
        out = torch.full((13, 40), float("nan")) if given else None
        found = products.product(x, w, b, out=out)
        assert (found.double() - expected).abs().max() < 1e-5
        assert out is None or found.data_ptr() == out.data_ptr()


@pytest.mark.usefixtures("on_amd")
@pytest.mark.parametrize("at_a_time", [2**23, 100])
def test_a_product_is_added_to_what_is_there(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(products, "AT_A_TIME", at_a_time)
    x, weight = numbers(13, 24), numbers(24, 40).t()
    for to in (numbers(13, 40), numbers(40, 13).t()):
        expected = to.double() + x.double() @ weight.double().t()
        assert (products.product_added(x, weight, to.clone()).double() - expected).abs().max() < 1e-5


@pytest.mark.usefixtures("on_amd")
def test_other_dtypes_and_a_switched_off_library_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = numbers(13, 24), numbers(40, 24)
    assert not products.faster(x.double(), weight.double())
    assert not products.faster(x.bfloat16(), weight.bfloat16())
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not products.faster(x, weight)
    assert torch.equal(products.product(x, weight), x @ weight.t())


@pytest.mark.usefixtures("on_amd")
def test_matrices_with_gaps_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN has only its reference implementation for them."""
    x, weight = numbers(13, 24), numbers(40, 24)
    wider = numbers(40, 30)[:, :24]
    assert products.faster(x, weight)
    assert products.faster(x, numbers(24, 40).t())
    for one, two in ((x, wider), (x, numbers(24, 60).t()[:40]), (numbers(13, 30)[:, :24], weight)):
        assert not products.faster(one, two)
        assert torch.equal(products.product(one, two), one @ two.t())
    monkeypatch.setattr(products, "AT_A_TIME", 100)
    turned = numbers(24, 40).t()
    assert torch.equal(products.product(x, turned), x @ turned.t()), "its parts would have gaps"


def test_small_products_and_other_processors_are_left_to_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    described(monkeypatch, tmp_path, "AuthenticAMD")
    assert not products.faster(numbers(8, 64), numbers(128, 64))
    described(monkeypatch, tmp_path, "GenuineIntel")
    large = numbers(512, 256), numbers(512, 256)
    assert not products.faster(*large)
    assert torch.equal(products.product(*large), large[0] @ large[1].t())
    products._onednn.cache_clear()
