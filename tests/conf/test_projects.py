import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mmkit.conf import projects
from mmkit.conf.projects import Project, find_projects, import_packages, project_of, search_path, used_projects, with_folders


def _make(folder, *experiments):
    (folder / "configs" / "experiment").mkdir(parents=True)
    (folder / "configs" / "__init__.py").touch()
    for name in experiments:
        (folder / "configs" / "experiment" / f"{name}.yaml").touch()


def test_projects_are_found_in_the_folder_below_it_and_beside_mmkit(tmp_path):
    _make(tmp_path / "mine", "first", "second")
    _make(tmp_path / "projects" / "other", "third")
    packages = [project.package for project in find_projects(tmp_path)]
    assert packages[:2] == ["mine.configs", "projects.other.configs"]
    assert "projects.emoji_clip.configs" in packages
    assert find_projects(tmp_path)[0].experiments() == ["first", "second"]


def test_inside_a_project_its_own_name_is_importable(tmp_path):
    _make(tmp_path / "mine", "first")
    project = find_projects(tmp_path / "mine")[0]
    assert (project.root, project.package) == (tmp_path, "mine.configs")


def test_a_folder_whose_name_is_no_identifier_offers_configs_alone(tmp_path):
    _make(tmp_path / "my-project")
    project = project_of(tmp_path / "my-project" / "configs")
    assert (project.root, project.package) == (tmp_path / "my-project", "configs")


def test_a_configs_folder_without_package_is_no_project(tmp_path):
    (tmp_path / "mine" / "configs").mkdir(parents=True)
    assert all("mine" not in project.package for project in find_projects(tmp_path))


@pytest.fixture
def restored(monkeypatch):
    """Paths, projects and the environment as they were."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(projects, "_used", [])
    monkeypatch.setattr(projects, "_imported_roots", [])
    monkeypatch.setenv(projects.PROJECTS_VARIABLE, "[]")


@pytest.mark.usefixtures("restored")
def test_hydra_looks_into_the_folder_of_the_project_that_has_the_experiment(tmp_path):
    _make(tmp_path / "mine", "first")
    _make(tmp_path / "other", "second")
    found = find_projects(tmp_path)
    assert search_path(["+experiment=second", "seed=1"], found) == [f"file://{tmp_path}/other/configs"]
    assert used_projects() == [Project(tmp_path, "other.configs")]
    assert str(tmp_path) in sys.path
    assert "other" not in sys.modules


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_packages_of_the_search_path_become_folders_without_being_imported(tmp_path, prefix):
    _make(tmp_path / "mi'ne" / "deep")
    sys.path.insert(0, str(tmp_path / "mi'ne"))
    (written,) = with_folders([f"{prefix}hydra.searchpath=[pkg://deep.configs,pkg://no_such.configs]"])
    assert written.startswith(f"{prefix}hydra.searchpath=")
    entries = OverridesParser.create().parse_override(written).value()
    assert entries == [f"file://{tmp_path}/mi'ne/deep/configs", "pkg://no_such.configs"]
    assert used_projects() == [Project(tmp_path / "mi'ne", "deep.configs")]
    assert "deep" not in sys.modules


@pytest.mark.usefixtures("restored")
def test_folders_of_the_search_path_stay_and_take_part_if_they_are_packages(tmp_path):
    _make(tmp_path / "mine")
    (tmp_path / "plain").mkdir()
    arguments = [f"hydra.searchpath=[file://{tmp_path}/mine/configs,file://{tmp_path}/plain]", "seed=1"]
    assert with_folders(arguments) == arguments
    assert used_projects() == [Project(tmp_path, "mine.configs")]


@pytest.mark.usefixtures("restored")
def test_a_package_is_looked_for_as_python_imports_it(tmp_path):
    (tmp_path / "first" / "mine").mkdir(parents=True)
    (tmp_path / "first" / "mine" / "__init__.py").touch()  # hides the next
    _make(tmp_path / "second" / "mine")
    sys.path.insert(0, str(tmp_path / "second"))
    sys.path.insert(0, str(tmp_path / "first"))
    arguments = ["hydra.searchpath=[pkg://mine.configs]"]
    assert with_folders(arguments) == arguments
    (tmp_path / "first" / "mine" / "__init__.py").unlink()  # a namespace package joins them
    assert with_folders(arguments) == [f"hydra.searchpath=['file://{tmp_path}/second/mine/configs']"]


@pytest.mark.usefixtures("restored")
def test_packages_are_imported_when_a_run_starts_also_in_a_job_started_elsewhere(tmp_path, monkeypatch):
    _make(tmp_path / "started_elsewhere")
    projects.use(Project(tmp_path, "started_elsewhere.configs"))
    monkeypatch.setattr(projects, "_used", [])
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    import_packages()
    assert "started_elsewhere.configs" in sys.modules
