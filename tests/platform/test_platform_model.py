import pydantic
import pytest

from tdse.platform import Device, Link, Platform, load_platform
from tdse.platform.model import X86_LEVELS, x86_level


def cpu(**changes):
    values = {
        "name": "cpu",
        "targets": ("litert", "llvm"),
        "cores": 4,
        "triple": "x86_64-linux-gnu",
        "mcpu": "x86-64-v3",
        "features": ("avx2", "fma"),
        "model_name": "Some CPU",
    }
    return Device(**(values | changes))


def platform(*devices, source="found", links=()):
    return Platform(name="here", source=source, devices=devices or (cpu(),), links=links)


def test_values_are_frozen():
    with pytest.raises(pydantic.ValidationError):
        platform().name = "there"


def test_parts_can_be_asked_for():
    assert cpu().isa == "x86_64"
    assert Device(name="tpu", targets=("edgetpu",)).isa == ""
    assert platform().device("cpu") == cpu()
    assert platform().device("gpu") is None


def test_x86_levels():
    assert x86_level(set()) == ""
    features: set[str] = set()
    for name, added in X86_LEVELS:
        features |= added
        assert x86_level(features) == name
    assert x86_level(features - {"movbe"}) == "x86-64-v2"


def test_a_machine_is_its_own_platform():
    assert platform().is_host(platform())
    assert platform().differs_from(platform()) == ""


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (cpu(cores=2, features=(), mcpu=""), ""),
        (cpu(mcpu="x86-64-v2"), ""),
        (cpu(mcpu="generic"), ""),
        (cpu(targets=("litert",)), ""),
        (cpu(triple="aarch64-linux-gnu"), "cpu is aarch64, this machine is x86_64"),
        (cpu(triple=""), "cpu is no CPU, this machine is x86_64"),
        (cpu(features=("avx2", "amx_tile")), "cpu needs amx_tile, which this machine has not"),
        (cpu(mcpu="x86-64-v4"), "cpu is a x86-64-v4, this machine's processor is x86-64-v3"),
        (cpu(cores=8), "cpu has 8 cores, this process may use 4 cores"),
        (cpu(targets=("edgetpu",)), "no device of this machine offers edgetpu"),
        (
            cpu(cores=8, features=("sve",)),
            "cpu needs sve, which this machine has not; cpu has 8 cores, "
            "this process may use 4 cores",
        ),
    ],
)
def test_why_a_platform_is_not_this_machine(wanted, why):
    asked = platform(wanted, source="file")
    assert asked.differs_from(platform()) == why
    assert asked.is_host(platform()) == (not why)


def test_a_board_is_only_itself():
    rpi4, rpi5 = load_platform("rpi4"), load_platform("rpi5")
    assert rpi4.is_host(rpi4)
    assert rpi4.differs_from(rpi5) == (
        "cpu is a cortex-a72, this machine's processor is cortex-a76"
    )
    assert "cpu needs aes, asimddp" in rpi5.differs_from(rpi4)


def test_a_single_core_is_told_as_one():
    assert "may use 1 core" in platform().differs_from(platform(cpu(cores=1)))
    unknown = platform(cpu(mcpu="", model_name=""))
    assert "processor is of an unknown kind" in platform().differs_from(unknown)


def test_links_join_devices_that_are_there():
    tpu = Device(name="tpu", targets=("edgetpu",))
    usb = Link(between=("cpu", "tpu"), bandwidth_bytes_per_s=3.2e8, latency_us=125, shared=True)
    assert platform(cpu(), tpu, links=(usb,)).links == (usb,)
    for between in (("cpu", "gpu"), ("cpu", "cpu")):
        with pytest.raises(pydantic.ValidationError):
            platform(links=(Link(between=between, bandwidth_bytes_per_s=1.0),))
