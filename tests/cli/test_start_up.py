"""What the command line does before any graph is read."""

import json
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

REPORT = (
    "import sys\n"
    "from fx2py.cli.app import app\n"
    "try:\n"
    "    app({arguments!r})\n"
    "finally:\n"
    "    print('torch' in sys.modules, file=sys.stderr)\n"
)


def in_new_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["gen", "--help"], ["run", "--help"], ["diff", "--help"], ["--version"]]
)
def test_answers_without_importing_torch(arguments):
    done = in_new_process(REPORT.format(arguments=arguments))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr.strip().endswith("False")


def test_help_takes_under_a_quarter_of_importing_torch():
    def seconds(code):
        start = time.perf_counter()
        assert in_new_process(code).returncode == 0
        return time.perf_counter() - start

    ask = "from fx2py.cli.app import app; app(['--help'])"
    ratios = [seconds(ask) / seconds("import torch") for _ in range(3)]
    assert min(ratios) < 0.25


def test_version_names_the_installed_version(fx2py):
    result = fx2py("--version")
    assert (result.code, result.out) == (0, f"fx2py {version('fx2py')}\n")


def test_help_fits_eighty_columns(fx2py, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for command in ([], ["gen"], ["run"], ["diff"]):
        assert max(map(len, fx2py(*command, "--help").out.splitlines())) <= 80


def test_an_unknown_option_is_a_usage_error(fx2py):
    result = fx2py("gen", "--no-such-option", "x.pt")
    assert result.code == 2
    assert "--no-such-option" in result.err


def test_module_and_command_are_the_same():
    done = subprocess.run(
        [sys.executable, "-m", "fx2py", "--version"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"fx2py {version('fx2py')}\n"


WITHOUT_TORCH = (
    "import sys\n"
    "class Absent:\n"
    "    def find_spec(name, path=None, target=None):\n"
    "        if name == 'torch':\n"
    "            raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    "sys.meta_path.insert(0, Absent)\n"
    "sys.argv = ['fx2py', *{arguments!r}]\n"
    "from fx2py.cli.app import main; main()\n"
)
GRAPH_COMMANDS = [
    *(["gen", "x.pt2"], ["show", "x.pt2"], ["run", "x.pt2"], ["diff", "x.pt2"], ["bench", "x.pt2"]),
    ["split", "x.pt2", "--at", "aten::mm"],
]


@pytest.mark.parametrize("arguments", GRAPH_COMMANDS, ids=lambda arguments: arguments[0])
def test_without_torch_a_command_says_so_and_what_to_install(arguments):
    done = in_new_process(WITHOUT_TORCH.format(arguments=[*arguments, "--json"]))
    assert done.returncode == 2
    assert done.stderr == (
        "error: torch is not installed.\n" "Install torch 2.10 or newer beside fx2py: pip install torch\n"
    )
    assert json.loads(done.stdout)["error"] == "torch is not installed."


def test_a_torch_that_cannot_be_imported_says_why(tmp_path):
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise ImportError('libcudart.so.12: cannot open shared object file')"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['fx2py', 'gen', 'x.pt2']\n"
    done = in_new_process(f"{code}from fx2py.cli.app import main; main()")
    assert done.returncode == 2
    assert done.stderr.startswith("error: torch cannot be imported: libcudart.so.12: cannot open")
