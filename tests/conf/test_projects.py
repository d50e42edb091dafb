from mmkit.conf.projects import find_projects, project_of


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
