"""Puts the workflow, which is at the top of the repository, into the wheel; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
WORKFLOW = "headwater/_workflow"
PARTS = ("Snakefile", "workflow", "profiles", "envs")


class BuildWithWorkflow(build_py):
    """Copies the workflow next to the package's modules; `headwater.project.snakemake_call` finds it there."""

    def run(self) -> None:
        """Copy what the package consists of, then the workflow. An editable install uses that of the checkout."""
        super().run()
        if not self.editable_mode:
            for source, copy in self._workflow_files():
                self.mkpath(str(Path(copy).parent))
                self.copy_file(source, copy)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return all files of the package."""
        copies = [] if self.editable_mode else [copy for _, copy in self._workflow_files()]
        return [*super().get_outputs(include_bytecode), *copies]

    def _workflow_files(self) -> list[tuple[str, str]]:
        if missing := [part for part in PARTS if not (ROOT / part).exists()]:
            raise FileNotFoundError(f"The workflow is not complete: {', '.join(missing)} is not next to setup.py.")
        files = [file for part in PARTS for file in (ROOT / part, *sorted((ROOT / part).rglob("*"))) if file.is_file()]
        return [(str(file), str(Path(self.build_lib, WORKFLOW, file.relative_to(ROOT)))) for file in files]


setup(cmdclass={"build_py": BuildWithWorkflow})
