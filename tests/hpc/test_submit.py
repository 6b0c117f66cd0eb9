"""Batch scripts and what is said to the batch system, here one that only takes notes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pinnx
from pinnx.hpc.script import ranges, seconds_of
from pinnx.hpc.site import VARIABLE
from tests.hpc.conftest import Call

SBATCH = """\
#!/bin/bash
cp "${@: -1}" "$(dirname "$0")/taken.sh"
echo "4711;here"
"""

SITE = """\
partition = "gpu"
account = "project42"
time = "12:00:00"
modules = ["gcc/13"]
directives = ["--constraint=a100"]
command = "pinnx"
signal = "USR2@300"
[environment]
WHERE = "a b"
"""


@pytest.fixture
def sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A batch system that takes every job; gives the script that it was handed."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "sbatch").write_text(SBATCH)
    (tools / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return tools / "taken.sh"


def directives(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


def test_a_dry_run_prints_the_script_and_writes_nothing(call: Call, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    code, script, errors = call("submit", "tiny.toml", "--time", "30", "--requeue", "--dry-run")
    assert code == 0, errors
    assert sorted(folder.rglob("*")) == before
    assert directives(script) == [
        "--job-name=tiny",
        f"--output={folder}/jobs/tiny/slurm/%j.txt",
        "--open-mode=append",
        "--time=30",
        "--nodes=1",
        "--signal=B:USR1@120",
        "--requeue",
    ]
    assert f"-m pinnx sweep {folder}/jobs/tiny --member 0 &" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("words", [["submit", "tiny.toml"], ["sweep", "tiny.toml", "--seeds", "2"]])
def test_a_dry_run_imports_no_torch(folder: Path, words: list[str]) -> None:
    code = f"import sys; from pinnx.cli import main; main({[*words, '--dry-run']!r}); print('torch' in sys.modules)"
    paths = os.pathsep.join(filter(None, [str(Path(pinnx.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    surroundings = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_several_cases_and_sweeps_are_arrays(call: Call, folder: Path) -> None:
    (folder / "other.toml").write_text((folder / "tiny.toml").read_text())
    _, script, _ = call("submit", "tiny.toml", "other.toml", "--at-once", "7", "--dry-run")
    assert "--array=0-1%7" in directives(script)
    assert '--member "$SLURM_ARRAY_TASK_ID" &' in script
    _, script, _ = call("submit", "tiny.toml", "--grid", "network.width=3,4,5", "--seeds", "2", "--dry-run")
    assert "--array=0-5" in directives(script)
    assert f"--output={folder}/runs/tiny-sweep/slurm/%A_%a.txt" in directives(script)


def test_only_what_is_missing_is_submitted_and_the_number_is_kept(call: Call, folder: Path, sbatch: Path) -> None:
    assert call("sweep", "tiny.toml", "--seeds", "4", "--prepare")[0] == 0
    assert call("sweep", "runs/tiny-sweep", "--member", "1", "--quiet")[0] == 0
    code, output, errors = call("submit", "runs/tiny-sweep", "--time", "10")
    assert code == 0, errors
    assert output.startswith("job 4711: 3 of 4 members")
    assert "--array=0,2-3" in directives(sbatch.read_text())
    jobs = json.loads((folder / "runs" / "tiny-sweep" / "slurm" / "jobs.json").read_text())
    assert [job["job"] for job in jobs] == ["4711"]
    assert (folder / "runs" / "tiny-sweep" / "slurm" / jobs[0]["script"]).read_text() == sbatch.read_text()


def test_the_profile_of_a_site(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "config" / "pinnx" / "site.toml"
    file.parent.mkdir(parents=True)
    file.write_text(SITE)
    _, script, _ = call("submit", "tiny.toml", "--partition", "debug", "--dry-run")
    found = directives(script)
    assert {"--partition=debug", "--account=project42", "--time=12:00:00", "--constraint=a100"} <= set(found)
    assert "--signal=B:USR2@300" in found
    assert "module load gcc/13\n" in script
    assert "export WHERE='a b'" in script
    assert "\npinnx sweep " in script
    (folder / "other.toml").write_text('account = "elsewhere"\n')
    monkeypatch.setenv(VARIABLE, str(folder / "other.toml"))
    assert "--account=elsewhere" in directives(call("submit", "tiny.toml", "--dry-run")[1])


RUN = """\
#!/bin/bash
trap 'echo "checkpoint written"; exit 3' TERM
echo working
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize(
    ("scontrol", "requeue", "said", "early"),
    [
        (True, True, "requeue 4711", False),
        (True, True, "requeue 4711", True),
        (False, True, "there is no scontrol here to requeue the job", False),
        (True, False, "", False),
    ],
)
def test_a_script_that_is_out_of_time(
    call: Call, folder: Path, scontrol: bool, requeue: bool, said: str, early: bool
) -> None:
    """The batch system's signal becomes a TERM for pinnx, whose exit code 3 is the job's; scontrol may be missing.

    The signal may also come before the script knows the number of the process that it has started.
    """
    tools = folder / "node"
    tools.mkdir()
    for name in ("bash", "sleep"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "pinnx").write_text(RUN)
    (tools / "pinnx").chmod(0o755)
    if scontrol:
        (tools / "scontrol").write_text('#!/bin/bash\necho "$@"\n')
        (tools / "scontrol").chmod(0o755)
    (folder / "site.toml").write_text('command = "pinnx"\nsignal = "USR2@60"\n')
    words = ["--site", "site.toml", "--dry-run", *(["--requeue"] if requeue else [])]
    script = call("submit", "tiny.toml", *words)[1]
    (folder / "job.sh").write_text(script.replace("\npinnx=$!", "\nsleep 1\npinnx=$!") if early else script)
    with subprocess.Popen(
        [str(tools / "bash"), "job.sh"],
        env={"PATH": str(tools), "SLURM_JOB_ID": "4711"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "working\n"
        job.send_signal(signal.SIGUSR2)
        output, _ = job.communicate(timeout=60)
    assert job.returncode == 3
    assert output.startswith("checkpoint written\n")
    assert said in output
    assert ("requeue" in output) == requeue


def test_several_processes_are_started_by_srun(call: Call) -> None:
    _, script, _ = call("submit", "tiny.toml", "--nodes", "2", "--gpus-per-node", "4", "--dry-run")
    assert {"--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4"} <= set(directives(script))
    assert "\nsrun --kill-on-bad-exit=1 " in script
    _, script, _ = call("submit", "tiny.toml", "--gpus-per-node", "1", "--dry-run")
    assert "\nsrun" not in script


def test_the_template_can_be_changed(call: Call, folder: Path) -> None:
    template = call("submit", "--show-template")[1]
    (folder / "mine.sh").write_text(template.replace("{{command}}", "nvidia-smi\n{{command}}"))
    _, script, _ = call("submit", "tiny.toml", "--template", "mine.sh", "--dry-run")
    assert script.replace("nvidia-smi\n", "") == call("submit", "tiny.toml", "--dry-run")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected case files"),
        (["none.toml"], "no such file"),
        (["tiny.toml", "--time", "soon"], "expected a time such as"),
        (["tiny.toml", "--time", "1"], "would never get to work"),
        (["tiny.toml", "--signal", "USR1"], "such as USR1@120"),
        (["tiny.toml", "--nodes", "0"], "expected a number from 1"),
        (["tiny.toml", "--site", "none.toml"], "no such site profile"),
        (["tiny.toml", "--site", "bad.toml"], "did you mean 'partition'"),
        (["tiny.toml", "--site", "bad.toml"], "expected an array of strings"),
        (["tiny.toml", "--template", "bad.sh"], "no such place: {{comand}}; did you mean 'command'"),
        (["tiny.toml", "tiny.toml", "--seeds", "2"], "a sweep is of one case"),
        (["tiny.toml", "tiny.toml"], "has the run directory of"),
        (["tiny.toml", "--set", "network.width=0"], "must be at least 1"),
    ],
)
def test_mistakes_are_told(call: Call, folder: Path, sbatch: Path, words: list[str], message: str) -> None:
    (folder / "bad.toml").write_text('partitio = "gpu"\nmodules = "gcc"\n')
    (folder / "bad.sh").write_text("{{comand}}")
    code, _, errors = call("submit", *words)
    assert code == 2
    assert message in errors
    assert not sbatch.exists()


def test_without_slurm_the_way_out_is_told(call: Call, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", str(folder))
    code, _, errors = call("submit", "tiny.toml")
    assert code == 2
    assert "--local N" in errors


def test_what_sbatch_refuses_is_told_in_its_words(call: Call, sbatch: Path) -> None:
    (sbatch.parent / "sbatch").write_text("#!/bin/bash\necho 'Invalid account' >&2; exit 1\n")
    code, _, errors = call("submit", "tiny.toml")
    assert code == 4
    assert "Invalid account" in errors


def test_the_same_list_runs_here(call: Call, folder: Path) -> None:
    for name in ("a", "b"):
        text = (folder / "tiny.toml").read_text() + f'directory = "runs/{name}"\n'
        (folder / f"{name}.toml").write_text(text)
    code, output, errors = call("submit", "a.toml", "b.toml", "--local", "2")
    assert code == 0, errors
    assert "2 of 2 done" in output
    assert (folder / "runs" / "a" / "result.json").is_file()
    assert (folder / "runs" / "b" / "result.json").is_file()


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("30", 1800),
        ("1:30", 90),
        ("2:00:00", 7200),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-0:0:5", 86_405),
        ("0", None),
        ("unlimited", None),
    ],
)
def test_slurm_s_notation_of_time(time: str, seconds: int | None) -> None:
    assert seconds_of(time) == seconds


def test_ranges() -> None:
    assert ranges([4, 3, 0, 7, 8, 9]) == "0,3-4,7-9"
