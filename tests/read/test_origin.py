"""Stack traces and module stacks, as tracers and archives hold them."""

import pytest

from fx2py.graph.data import ModuleFrame, SourceLine
from fx2py.read.origin import module_path, module_stack, source_line

MODEL = 'File "/home/me/model.py", line 7, in forward\n    return self.fc(x)\n'
TORCH = '  File "/v/lib/python3.11/site-packages/torch/nn/modules/linear.py", line 134, in forward\n    return F.linear(a)'


def test_the_innermost_frame_outside_torch_is_chosen():
    assert source_line(MODEL + TORCH) == SourceLine("/home/me/model.py", 7, "return self.fc(x)")


def test_without_such_a_frame_the_innermost_of_a_module_of_torch_is_chosen():
    inner = TORCH.replace("nn/modules/linear.py", "fx/passes/runtime_assert.py")
    assert source_line(TORCH + "\n" + inner).line == 134
    assert source_line(inner) is None


def test_code_that_torch_fx_generated_is_no_place_in_the_model():
    generated = 'File "<eval_with_key>.5", line 4, in forward\n    add = x + 1\n'
    assert source_line(MODEL + generated) == SourceLine("/home/me/model.py", 7, "return self.fc(x)")
    assert source_line(generated) is None


def test_a_frame_without_its_code_is_kept():
    assert source_line('File "a.py", line 3, in f') == SourceLine("a.py", 3, "")


def test_frames_may_follow_each_other_without_code_between():
    line = source_line('File "a.py", line 3, in f\nFile "b.py", line 4, in g\n')
    assert line == SourceLine("b.py", 4, "", SourceLine("a.py", 3))


def test_a_line_knows_its_callers_outside_torch_and_the_modules_around_it():
    frames = [
        ("a.py", 1, "forward"),
        (f"{'x'}-packages/torch/nn/modules/linear.py", 2, "forward"),
        ("b.py", 3, "helper"),
    ]
    trace = "".join(f'File "{file}", line {line}, in {name}\n    y = {line}\n' for file, line, name in frames)
    assert source_line(trace) == SourceLine("b.py", 3, "y = 3", SourceLine("a.py", 1, "y = 1", None, 0), 1)


def test_of_many_callers_the_inner_ones_are_kept():
    line = source_line("".join(f'File "a.py", line {n}, in f\n' for n in range(10_000)))
    lines = []
    while line is not None:
        lines.append(line.line)
        line = line.caller
    assert lines == list(range(9_999, 9_999 - 64, -1))


def test_a_long_line_of_frame_marks_takes_no_longer_than_its_length():
    assert source_line('x File "' * 500_000) is None


@pytest.mark.parametrize("text", ["", "no frames here", 'File "x"'])
def test_other_text_has_no_line(text):
    assert source_line(text) is None


@pytest.mark.parametrize(
    ("recorded", "path"),
    [
        ("layers.0.mlp", "layers.0.mlp"),
        ("L['self'].layers[0].mlp", "layers.0.mlp"),
        ("L['self']._modules['layers']._modules['0']", "layers.0"),
        ("L__self__", ""),
        ("_empty_nn_module_stack_from_metadata_hook", ""),
        ("", ""),
    ],
)
def test_module_paths_are_dotted(recorded, path):
    assert module_path(recorded) == path


def test_a_module_stack_has_a_frame_for_each_module_and_says_which_call_of_it():
    stack = "L__self__,,m.Outer;L__self__block@2,block[0],m.Pair[int, str]"
    assert module_stack(stack) == (ModuleFrame("", "m.Outer"), ModuleFrame("block.0", "m.Pair[int, str]", 2))
    assert module_stack("") == ()
