"""Files that appear whole or not at all."""

import pytest

from hifacegan_plugin.system.files import whole_file


def test_the_folder_is_made(tmp_path):
    with whole_file(tmp_path / 'new/folder/a.txt') as part:
        part.write_text('all')
    assert [path.name for path in (tmp_path / 'new/folder').iterdir()] == ['a.txt']


def test_errors_name_the_file_rather_than_its_draft(tmp_path):
    target = tmp_path / 'a.txt'
    with pytest.raises(FileNotFoundError) as missing, whole_file(target) as part:
        part.read_text()
    target.mkdir()
    with pytest.raises(OSError) as taken, whole_file(target) as part:
        part.write_text('all')
    assert str(missing.value) == f"[Errno 2] No such file or directory: '{target}'"
    assert str(taken.value).endswith(f": '{target}'")
    assert list(tmp_path.iterdir()) == [target]


def test_errors_about_other_files_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError) as missing, whole_file(tmp_path / 'a.txt'):
        (tmp_path / 'b.txt').read_text()
    assert missing.value.filename == str(tmp_path / 'b.txt')
