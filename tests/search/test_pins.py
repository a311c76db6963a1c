import pytest

from tdse.errors import UsageError
from tdse.search.pins import parse_pins

LABELS = ["0:conv2d", "2:hard_swish", "3:conv2d", "12:softmax"]
KINDS = ["conv2d", "hard_swish", "conv2d", "softmax"]


def parse(*texts):
    return parse_pins(texts, LABELS, KINDS, ["litert", "llvm"])


def test_each_form_of_a_pin():
    assert parse("12=llvm") == {3: "llvm"}
    assert parse("2:hard_swish=litert") == {1: "litert"}
    assert parse("conv2d=llvm") == {0: "llvm", 2: "llvm"}
    assert parse(" 3 = llvm ") == {2: "llvm"}
    assert parse() == {}


def test_one_operator_beats_its_kind_in_any_order():
    expected = {0: "llvm", 2: "litert"}
    assert parse("conv2d=llvm", "3=litert") == parse("3=litert", "conv2d=llvm") == expected


def test_saying_it_twice_is_no_contradiction():
    assert parse("3=llvm", "3:conv2d=llvm") == {2: "llvm"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["3"],
            "the pin '3' cannot be read; write an operator and a device, for example 12=llvm or "
            "conv2d=llvm",
        ),
        (["=llvm"], "the pin '=llvm' cannot be read; write"),
        (["3="], "the pin '3=' cannot be read; write"),
        (["3=lvm"], "pin 3=lvm: there is no device lvm; did you mean llvm?"),
        (["3=cuda"], "pin 3=cuda: there is no device cuda; there are litert, llvm"),
        (["conv3d=llvm"], "pin conv3d=llvm: there is no operator conv3d; did you mean conv2d"),
        (["hardswish=llvm"], "there is no operator hardswish; did you mean hard_swish"),
        (["relu=llvm"], "pin relu=llvm: there is no operator relu; there are conv2d, hard_swish"),
        (["3:softmax=llvm"], "there is no operator 3:softmax; did you mean 3:conv2d?"),
        (
            ["7=llvm"],
            "pin 7=llvm: there is no operator 7 that can be placed; "
            "operators are numbered from 0 to 12",
        ),
        (
            ["3=llvm", "3=litert"],
            "pin 3=litert: 3:conv2d is pinned to llvm and to litert; keep one of the two pins",
        ),
        (["conv2d=llvm", "conv2d=litert"], "0:conv2d is pinned to llvm and to litert"),
    ],
)
def test_wrong_pins(texts, message):
    with pytest.raises(UsageError) as caught:
        parse(*texts)
    assert message in str(caught.value)
    assert caught.value.exit_status == 2
