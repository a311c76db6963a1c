from pathlib import Path

import pytest

from tdse.errors import PlatformError, UsageError
from tdse.platform import Link, load_platform, preset_names

GOOD = """\
name = "board"

[[devices]]
name = "cpu"
targets = ["litert", "llvm"]
cores = 4
triple = "aarch64-linux-gnu"
mcpu = "cortex-a72"
clock_hz = 1_500_000_000

[[devices]]
name = "tpu"
targets = ["edgetpu"]

[[links]]
between = ["cpu", "tpu"]
bandwidth_bytes_per_s = 320e6
latency_us = 125
shared = true
"""


NEITHER = "needs targets, or one of emulated, dataflow, edgetpu if it is modelled"
RATES = """
[devices.emulated]
conv_macs_per_us = 100
depthwise_macs_per_us = 10
dense_macs_per_us = 10
bytes_per_us = 10
"""


@pytest.fixture
def refusal(tmp_path):
    """Loads a platform file of the given text and gives the error."""

    def load(text):
        path = tmp_path / "board.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(PlatformError) as caught:
            load_platform(str(path))
        assert caught.value.where == str(path)
        assert caught.value.hint
        assert "\n" not in str(caught.value)
        return caught.value

    return load


def test_host():
    assert load_platform("host").source == "found"


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_platforms(name):
    platform = load_platform(name)
    assert (platform.name, platform.source) == (name, "preset")
    if platform.is_emulated:
        assert len(platform.devices) > 1
        assert not any(device.targets for device in platform.devices)
        return
    cpu = platform.devices[0]
    assert (cpu.name, cpu.targets, cpu.cores) == ("cpu", ("litert", "llvm"), 4)
    assert cpu.isa == "aarch64"
    # Peaks of the memory chips, in bytes per second: 3200 and 4267 MT/s on 32 bits.
    peaks = {"cortex-a72": 3200e6 * 4, "cortex-a76": 4267e6 * 4}
    assert cpu.memory_bytes_per_s == peaks[cpu.mcpu]


def test_names_of_the_presets():
    assert preset_names() == ("jetson-orin-nano", "rpi4", "rpi4-coral-usb3", "rpi5", "zynq")


def test_a_file(tmp_path):
    path = tmp_path / "board.toml"
    path.write_text(GOOD)
    board = load_platform(str(path))
    assert (board.name, board.source) == ("board", "file")
    assert [device.name for device in board.devices] == ["cpu", "tpu"]
    assert board.devices[0].clock_hz == 1.5e9
    assert board.links == (
        Link(between=("cpu", "tpu"), bandwidth_bytes_per_s=3.2e8, latency_us=125.0, shared=True),
    )


def test_a_file_next_to_us(tmp_path, monkeypatch):
    (tmp_path / "board.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert load_platform("board.toml").name == "board"


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(UsageError) as caught:
        load_platform("rpi3")
    assert str(caught.value).startswith("there is no platform rpi3; did you mean rpi")
    with pytest.raises(UsageError) as caught:
        load_platform("jetson")
    assert str(caught.value) == (
        "there is no platform jetson; choose one of host, jetson-orin-nano, rpi4, rpi4-coral-usb3, "
        "rpi5, zynq, or a .toml file"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [("missing.toml", "No such file or directory"), ("", "Is a directory"), ("\0.toml", "null")],
)
def test_a_file_that_cannot_be_read(tmp_path, name, why):
    with pytest.raises(PlatformError) as caught:
        load_platform(f"{tmp_path}/{name}")
    assert caught.value.what == "cannot read the platform file"
    assert why in caught.value.why


def test_no_toml(refusal):
    assert refusal("name = ").what == "not a TOML file"
    assert "line 2" in refusal("name = 'x'\ncores 4\n").why
    assert refusal(b"\xff\xfe").what == "not a TOML file"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("cores = 4", "cores = 0", "devices[0].cores: must be at least 1, not 0"),
        ("cores = 4", "cores = 'x'", "devices[0].cores: must be a whole number, not 'x'"),
        ("cores = 4", "cores = 2.5", "devices[0].cores: must be a whole number, not 2.5"),
        ("cores = 4", "core = 4", "devices[0].core: is not a known key, did you mean cores?"),
        ("cores = 4", "qqq = 4", "devices[0].qqq: is not a known key"),
        ('name = "cpu"', "name = ''", "devices[0].name: must not be empty"),
        ('name = "cpu"', "name = 7", "devices[0].name: must be a text, not 7"),
        ('name = "cpu"\n', "", "devices[0].name: is missing"),
        ('["litert", "llvm"]', "[]", f"devices[0]: {NEITHER}"),
        ('targets = ["litert", "llvm"]\n', "", f"devices[0]: {NEITHER}"),
        ('["litert", "llvm"]', "'llvm'", "devices[0].targets: must be a list, not 'llvm'"),
        ('["litert", "llvm"]', "['a', 'a']", "devices[0]: targets names a twice"),
        ("320e6", "0", "links[0].bandwidth_bytes_per_s: must be more than 0, not 0"),
        ("320e6", "inf", "links[0].bandwidth_bytes_per_s: must be a number, not inf"),
        ("320e6", "'x'", "links[0].bandwidth_bytes_per_s: must be a number, not 'x'"),
        ("shared = true", "shared = 3", "links[0].shared: must be true or false, not 3"),
        ('"tpu"]', '"gpu"]', "links[0].between names gpu, but the devices are cpu, tpu"),
        ('"tpu"]', '"cpu"]', "links[0].between names cpu twice"),
        ('name = "tpu"', 'name = "cpu"', "two devices are called cpu"),
        ('name = "board"', 'source = "found"', "source: is set by tdse"),
    ],
)
def test_a_fault_names_its_key(refusal, old, new, why):
    assert old in GOOD
    error = refusal(GOOD.replace(old, new, 1))
    assert error.what == "wrong platform file"
    assert error.why == why


def test_an_emulated_platform(tmp_path):
    text = GOOD.replace('targets = ["litert", "llvm"]\n', "")
    text = text.replace('targets = ["edgetpu"]\n', RATES + 'kinds = ["conv2d"]\n')
    text = text.replace("clock_hz = 1_500_000_000\n", RATES)
    path = tmp_path / "board.toml"
    path.write_text(text)
    board = load_platform(str(path))
    assert board.is_emulated
    cpu, tpu = (device.emulated for device in board.devices)
    assert (cpu.conv_macs_per_us, cpu.launch_us, cpu.kinds) == (100, 0, None)
    assert (tpu.kinds, tpu.dtypes) == (("conv2d",), None)
    assert board.differs_from(load_platform("host")) == "cpu is emulated; tpu is emulated"
    assert not load_platform("rpi4").is_emulated


def test_emulated_and_other_devices_do_not_mix(refusal):
    tpu = GOOD.replace('targets = ["edgetpu"]\n', RATES)
    assert refusal(tpu).why == (
        "cpu is not emulated and tpu is: measured and modelled times never mix"
    )
    cpu = GOOD.replace('targets = ["litert", "llvm"]\n', "")
    cpu = cpu.replace("clock_hz = 1_500_000_000\n", RATES)
    assert refusal(cpu).why == (
        "cpu is emulated and tpu is not: measured and modelled times never mix"
    )
    both = GOOD.replace("clock_hz = 1_500_000_000\n", RATES)
    assert refusal(both).why == (
        "devices[0]: has both targets and emulated, so that times would mix; keep one"
    )


def test_a_fault_in_rates_names_its_key(refusal):
    text = GOOD.replace('targets = ["litert", "llvm"]\n', "")
    text = text.replace("clock_hz = 1_500_000_000\n", RATES.replace("= 100", "= 0"))
    assert refusal(text).why == ("devices[0].emulated.conv_macs_per_us: must be more than 0, not 0")


def test_all_faults_are_told_at_once(refusal):
    text = GOOD.replace("cores = 4", "cores = 0").replace('name = "board"\n', "")
    assert refusal(text).why == "name: is missing; devices[0].cores: must be at least 1, not 0"


def test_an_empty_file(refusal):
    assert refusal("").why == "name: is missing; devices: is missing"


def test_the_readers_of_the_code_find_the_sources_of_the_constants():
    folder = Path(__file__).parents[2] / "python" / "tdse" / "platform" / "presets"
    for preset in preset_names():
        assert "# Sources: " in (folder / f"{preset}.toml").read_text()
